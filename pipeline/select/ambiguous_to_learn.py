"""A region of the map that ground truth draws: analysis only, it has seen labels."""

from __future__ import annotations

from pipeline.artifacts import Int64
from pipeline.select.global_sort import lowest_first
from pipeline.select.pool_view import PoolView


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """Highest variability of the true class's probability first, over the whole pool as in the authors' `gt_ambiguous`.

    Source: SCIENCE.md section 2, after Swayamdipta et al., "Dataset cartography" (EMNLP 2020).
    """
    assert view.learnability_variability is not None
    return lowest_first(view, -view.learnability_variability, budget)
