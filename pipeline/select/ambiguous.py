"""The third region of the dataset map."""

from __future__ import annotations

from pipeline.artifacts import Float64, Int64
from pipeline.select.pool_view import PoolView
from pipeline.select.round_robin import in_turns, visiting_order


def key(view: PoolView) -> Float64:
    """(N,) highest variability first; ties by sample id; never drawn in training: last."""
    assert view.variability is not None
    return -view.variability


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """Highest variability first inside each cluster, the clusters in turn.

    Source: the dataset map of the paper (SCIENCE.md section 2) and the order `ambiguous` of the authors.
    """
    assert view.cluster is not None
    return in_turns(view, view.cluster, key(view), visiting_order(view.k, seed), budget)
