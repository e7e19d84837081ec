"""Where the scorer hesitates between two classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Int64
from pipeline.select.global_sort import lowest_first
from pipeline.select.pool_view import PoolView


def margins(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """(N, C) class probabilities -> (N,) the largest less the second largest."""
    largest = np.sort(probabilities, axis=1)[:, -2:]
    return np.asarray(largest[:, -1] - largest[:, 0])


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """Smallest difference between the two most probable classes first.

    Source: the paper's margin (SCIENCE.md section 4), after Balcan, Broder & Zhang, "Margin based active learning"
    (COLT 2007).
    """
    assert view.probabilities is not None
    return lowest_first(view, margins(view.probabilities), budget)
