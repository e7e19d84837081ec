"""Small pools of features, in clumps, for the strategies that choose by distance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.select import PoolView

MakePool = Callable[..., PoolView]


@pytest.fixture
def make_pool() -> MakePool:
    """``make_pool(n=150, seed=0, labelled=0)``: ids 7, 10, 13 ... in id order; unit-norm features in six clumps."""

    def make(n: int = 150, seed: int = 0, labelled: int = 0, spread: float = 0.3) -> PoolView:
        rng = np.random.default_rng(seed)
        features = rng.normal(size=(6, 8))[rng.integers(0, 6, n)] + spread * rng.normal(size=(n, 8))
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        known = rng.permutation(np.arange(n) < labelled) if labelled else None
        return PoolView(7 + 3 * np.arange(n), features=features.astype(np.float32), labelled=known)

    return make
