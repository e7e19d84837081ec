from __future__ import annotations

import numpy as np
import pytest

from pipeline.cluster import kmeans
from pipeline.cluster.umap2d import umap2d
from pipeline.errors import InputError


def test_same_seed_same_map_and_separate_groups_stay_apart() -> None:
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.normal(20 * c, 1, (25, 6)) for c in range(2)]).astype(np.float32)
    first, again = umap2d(features, seed=1), umap2d(features, seed=1)
    assert first.shape == (50, 2)
    assert first.dtype == np.float32
    assert first.tobytes() == again.tobytes()
    assert kmeans(first, 2, seed=0, backend="sklearn").labels.tolist() == [0] * 25 + [1] * 25


def test_tiny_pools() -> None:
    features = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    assert np.isfinite(umap2d(features, seed=0)).all()
    with pytest.raises(InputError, match="needs 5 samples or more, not 4"):
        umap2d(features[:4], seed=0)
