"""Orders that search long tell how far they are."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.select import strategy
from pipeline.select.pool_view import PoolView


@pytest.mark.parametrize("name", ["greedy-medoids", "maxherding", "coreset", "probcover", "k-medoids", "typiclust"])
def test_it_tells_its_steps(name: str, heard: list[tuple[int, int]]) -> None:
    features = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    strategy(name).query(PoolView(np.arange(300), features=features), 20, 1)
    assert heard[-1][0] == heard[-1][1]
