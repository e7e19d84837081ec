"""The medoids of the pool one after the other: as K-medoids, but a larger budget continues a smaller one."""

from __future__ import annotations

import numpy as np

from pipeline.artifacts import Float32, Int64
from pipeline.select.facility_location import facility_location
from pipeline.select.pool_view import PoolView

FARTHEST = 2.0
"""Of two features of unit norm."""
_ROUNDING = 1e-6
"""Of squared distances in float32."""


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """``facility_location`` by 2 - |x - s|: each pick lowers the sum of distances to the nearest pick the most.

    It has no kernel width to choose. Measured beside the others in docs/results.md.
    Source: the BUILD phase of PAM (Kaufman & Rousseeuw, "Finding groups in data", 1990), with what is labelled as the
    medoids that are there; SCIENCE.md section 7.
    """
    return facility_location(view, budget, seed, nearness)


def nearness(squared: Float32) -> Float32:
    """2 - d of squared distances between features of unit norm, which it overwrites."""
    squared[squared < _ROUNDING] = 0  # of a sample to itself; its root would be a thousand times as large
    np.sqrt(squared, out=squared)
    return np.subtract(np.float32(FARTHEST), squared, out=squared)
