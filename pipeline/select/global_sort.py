"""The whole pool by one number, with no regard to clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Int64
from pipeline.select.pool_view import PoolView


def lowest_first(view: PoolView, score: NDArray[np.floating[Any]], budget: int) -> Int64:
    """(budget,) ids of the unlabelled samples with the lowest score (N,); of equals the lower id; NaN last."""
    rows = view.unlabelled_rows
    return view.sample_id[rows[np.argsort(score[rows], kind="stable")[:budget]]]
