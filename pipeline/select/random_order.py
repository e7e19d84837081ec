"""The baseline that cold-start strategies fail to beat."""

from __future__ import annotations

import numpy as np

from pipeline.artifacts import Int64
from pipeline.select.pool_view import PoolView


def order(view: PoolView, seed: int) -> Int64:
    """A seeded permutation of the pool: the plain ``random`` of the paper's Table 6 (SCIENCE.md row 17)."""
    return np.random.default_rng(seed).permutation(view.sample_id)
