"""HaCon itself: the typical images first."""

from __future__ import annotations

from pipeline.artifacts import Float64, Int64
from pipeline.select.pool_view import PoolView
from pipeline.select.round_robin import in_turns, visiting_order


def key(view: PoolView) -> Float64:
    """(N,) lowest confidence first; ties by sample id; never drawn in training: last."""
    assert view.confidence is not None
    return view.confidence


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """Lowest confidence first inside each cluster, the clusters in turn.

    Images that are hard to tell apart look like the rest, so they are typical; the easy ones are
    outliers. Source: Algorithm 1 of the paper; SCIENCE.md section 1 and row 8.
    """
    assert view.cluster is not None
    return in_turns(view, view.cluster, key(view), visiting_order(view.k, seed), budget)
