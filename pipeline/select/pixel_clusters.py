"""Clusters of pixels instead of contrastive features."""

from __future__ import annotations

from pipeline.artifacts import Int64
from pipeline.select.pool_view import PoolView
from pipeline.select.round_robin import in_turns, visiting_order


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """Smallest distance to the centroid first inside each cluster of raw pixels, the clusters in turn.

    Source: the paper's ablation "without contrastive features" (Fig. 3; SCIENCE.md section 4).
    """
    assert view.pixel_cluster is not None and view.pixel_distance is not None
    turns = visiting_order(view.pixel_k, seed)
    return in_turns(view, view.pixel_cluster, view.pixel_distance, turns, budget)
