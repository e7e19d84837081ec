"""The opposite of HaCon, to measure it against."""

from __future__ import annotations

from pipeline.artifacts import Int64
from pipeline.select.pool_view import PoolView
from pipeline.select.round_robin import ascending, in_turns, unknown_last, visiting_order


def key(view: PoolView) -> Int64:
    """(N,) highest confidence first, the exact reverse of hard-to-contrast; never drawn in training: last."""
    assert view.confidence is not None
    return unknown_last(-ascending(view.confidence), view.confidence)


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """Highest confidence first inside each cluster, the clusters in turn.

    Each cluster's own order is that of hard-to-contrast reversed, ties included.
    Source: the dataset map of the paper (SCIENCE.md section 2) and the order `easy` of the authors.
    """
    assert view.cluster is not None
    return in_turns(view, view.cluster, key(view), visiting_order(view.k, seed), budget)
