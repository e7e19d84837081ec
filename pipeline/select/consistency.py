"""Where augmentation changes the scorer's mind."""

from __future__ import annotations

import numpy as np

from pipeline.artifacts import Float64, Int64
from pipeline.select.global_sort import lowest_first
from pipeline.select.pool_view import PoolView


def inconsistency(view: PoolView) -> Float64:
    """(N,) sum over the classes of the variance of the predicted probability over the augmented copies."""
    assert view.probability_views is not None
    return np.asarray(view.probability_views.var(axis=0, dtype=np.float64).sum(axis=1))


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """Highest inconsistency over augmented copies first.

    Source: the paper's consistency (SCIENCE.md section 4), Gao et al., "Consistency-based semi-supervised active
    learning" (ECCV 2020).
    """
    return lowest_first(view, -inconsistency(view), budget)
