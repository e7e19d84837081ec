"""What the scorer is most unsure of, by all classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Float64, Int64
from pipeline.select.global_sort import lowest_first
from pipeline.select.pool_view import PoolView


def entropies(probabilities: NDArray[np.floating[Any]]) -> Float64:
    """(N, C) class probabilities -> (N,) entropy in nats; 0 log 0 is 0."""
    p = probabilities.astype(np.float64)
    return np.asarray(-(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1))


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """Highest entropy of the predicted probabilities first.

    Source: the paper's (max-)entropy (SCIENCE.md section 4), after Wang & Shang, "A new active labeling method for
    deep learning" (IJCNN 2014).
    """
    assert view.probabilities is not None
    return lowest_first(view, -entropies(view.probabilities), budget)
