"""The authors' clustering space, as an option for fidelity studies."""

from __future__ import annotations

import numpy as np

from pipeline.artifacts import Float32
from pipeline.errors import InputError

FEWEST = 5
"""Below this many samples the neighbour graph has no 2-D spectral layout to start from."""


def umap2d(features: Float32, seed: int) -> Float32:
    """2-D UMAP of ``features`` (N, D): (N, 2) float32, with umap-learn's own defaults.

    The authors' code runs K-means on such a map, unseeded (SCIENCE.md row 7); ours is seeded, which
    makes it run on one thread. Rows in ``sample_id`` order give the same map every time.

    Raises:
        InputError: fewer than 5 samples.
    """
    n = len(features)
    if n < FEWEST:
        raise InputError(f"cluster.space=umap2d needs {FEWEST} samples or more, not {n}; use cluster.space=features.")
    from umap import UMAP  # here, since it brings Numba, which takes seconds to import

    model = UMAP(n_components=2, n_neighbors=min(15, n - 1), random_state=seed, n_jobs=1)
    return np.asarray(model.fit_transform(features), np.float32)
