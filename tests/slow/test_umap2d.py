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


def test_what_was_compiled_is_kept_for_the_next_process() -> None:
    # Here, as in the product: Numba takes seconds to import. That these names are still UMAP's is part of the test.
    from umap import layouts, umap_

    umap2d(np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32), seed=0)
    compiled = (
        umap_.smooth_knn_dist,
        umap_.compute_membership_strengths,
        layouts._nb_optimize_layout_euclidean_single_epoch,
    )
    for each in compiled:
        found, made = each.stats.cache_hits, each.stats.cache_misses
        assert found or made, f"{each.__name__} is compiled anew by every process"
