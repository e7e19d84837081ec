"""Typical by position instead of by confidence."""

from __future__ import annotations

from pipeline.artifacts import Float32, Int64
from pipeline.select.pool_view import PoolView
from pipeline.select.round_robin import in_turns, visiting_order


def key(view: PoolView) -> Float32:
    """(N,) smallest distance to the own centroid first; ties by sample id."""
    assert view.distance is not None
    return view.distance


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """Smallest distance to the centroid first inside each cluster, the clusters in turn.

    Source: the paper's ablation "without hard-to-contrast" (Fig. 3; SCIENCE.md section 4).
    """
    assert view.cluster is not None
    return in_turns(view, view.cluster, key(view), visiting_order(view.k, seed), budget)
