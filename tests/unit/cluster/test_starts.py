"""Start by start is what scikit-learn finds with all starts at once, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from pipeline.cluster import kmeans
from pipeline.cluster.sklearn_backend import fit


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("n", "k"), [(400, 7), (60, 2), (50, 12)])
def test_starts_one_by_one_are_the_starts_together(n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = (rng.normal(size=(n, 16)) + 3 * rng.integers(0, 3, (n, 1))).astype(np.float32)
    together = KMeans(k, n_init=10, max_iter=300, random_state=seed).fit(features)
    assert np.array_equal(fit(features, k, seed, 10, 300), together.cluster_centers_)


def test_it_tells_how_far_it_is(heard: list[tuple[int, int]]) -> None:
    features = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    kmeans(features, 5, 0, backend="sklearn", n_init=4)
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]
    heard.clear()
    kmeans(features, 5, 0, backend="sklearn", sample_above=100)
    assert heard == [(number, 10) for number in range(1, len(heard) + 1)]
