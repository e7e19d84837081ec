"""Let every sample have a similar one among the labelled, by a Gaussian kernel."""

from __future__ import annotations

import numpy as np

from pipeline.artifacts import Float32, Int64
from pipeline.select.facility_location import facility_location
from pipeline.select.pool_view import PoolView

LENGTH_SCALE = 1.0
"""The paper's, for features of unit norm."""


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """``facility_location`` by exp(-|x - s|^2 / l^2).

    Source: Bae, Noh & Sutherland, "Generalized coverage for more robust low-budget active learning" (ECCV 2024), with
    their kernel; SCIENCE.md section 7.
    """
    return facility_location(view, budget, seed, _kernel)


def _kernel(squared: Float32) -> Float32:
    squared /= -(LENGTH_SCALE**2)
    return np.exp(squared, out=squared)
