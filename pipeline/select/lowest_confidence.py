"""Hard to contrast, wherever it lies."""

from __future__ import annotations

from pipeline.artifacts import Int64
from pipeline.select.global_sort import lowest_first
from pipeline.select.pool_view import PoolView


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """Lowest confidence (Eq. 3) of the whole pool first; never drawn in training: last.

    Source: the paper's ablation "without K-means" (Fig. 3; SCIENCE.md section 4).
    """
    assert view.confidence is not None
    return lowest_first(view, view.confidence, budget)
