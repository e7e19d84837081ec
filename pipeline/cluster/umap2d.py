"""Features in the plane by UMAP: the authors' clustering space (an option), and the report's map."""

from __future__ import annotations

import warnings

import numpy as np

from pipeline.artifacts import Float32
from pipeline.errors import InputError

FEWEST = 5
"""Below this many samples the neighbour graph has no 2-D spectral layout to start from."""
NEIGHBOURS = 15
EXACT_UP_TO = 20_000
"""Up to so many samples, neighbours are found by comparing all pairs, which takes seconds. UMAP's own approximate
search takes most of a minute to compile; above this size all pairs would take longer."""


def umap2d(features: Float32, seed: int) -> Float32:
    """2-D UMAP of ``features`` (N, D): (N, 2) float32, with umap-learn's own defaults (15 neighbours, Euclidean).

    The authors' code runs K-means on such a map, unseeded (docs/method.md, decision 7); ours is seeded, which
    makes it run on one thread. Rows in ``sample_id`` order give the same map every time.

    Raises:
        InputError: fewer than 5 samples.
    """
    n = len(features)
    if n < FEWEST:
        raise InputError(f"cluster.space=umap2d needs {FEWEST} samples or more, not {n}; use cluster.space=features.")
    from umap import UMAP  # here, since it brings Numba, which takes seconds to import

    _keep_compiled()
    neighbours = min(NEIGHBOURS, n - 1)
    model = UMAP(
        n_components=2,
        n_neighbors=neighbours,
        random_state=seed,
        n_jobs=1,
        precomputed_knn=_neighbours(features, neighbours) if n <= EXACT_UP_TO else (None, None, None),
    )
    with warnings.catch_warnings():
        # True and irrelevant: nothing new is put on the map later.
        warnings.filterwarnings("ignore", message=r"precomputed_knn\[2\]")
        return np.asarray(model.fit_transform(features), np.float32)


def _keep_compiled() -> None:
    """Have Numba keep on disk what it compiles of UMAP, as it does of pynndescent: nine tenths of a first call.

    umap-learn does not ask for it. Of one version to the next these may have other names, and then it is only slower.
    """
    from umap import layouts, umap_

    for module, name in (
        (umap_, "smooth_knn_dist"),
        (umap_, "compute_membership_strengths"),
        (layouts, "_nb_optimize_layout_euclidean_single_epoch"),
    ):
        compiled = getattr(module, name, None)
        if compiled is not None and not compiled.signatures:
            compiled.enable_caching()


def _neighbours(features: Float32, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, count) ids of the nearest, each sample itself first, and their distances."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(features)
    distances, indices = search.kneighbors(features)
    return indices, distances
