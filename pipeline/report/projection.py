"""The report's flat map of the features: UMAP, seeded."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from pipeline.artifacts import Float32

MIN_POINTS = 5
"""UMAP's spectral start needs more points than the plane has dimensions, and neighbours to speak of."""
NEIGHBOURS = 15


@dataclass(frozen=True)
class Projection:
    """Points in the plane, and in words what put them there.

    Shapes: points (M, 2) float32. ``method`` is "UMAP", or another method with the reason.
    """

    points: Float32
    method: str


def project_2d(features: Float32, seed: int) -> Projection:
    """Features in the plane by UMAP (15 neighbours, Euclidean, which on unit-norm features orders as cosine does).

    The neighbours are found exactly, here, rather than by UMAP's own approximate search: at the few
    thousand points of a report that is as fast, and saves the most of a minute that the search takes
    to compile on first use. One thread, so that the same seed gives the same map on the same machine.

    Args:
        features: (M, D) float32, unit norm; the caller keeps M to ``report.umap_points``.
        seed: decides the start and the sampling of the layout.

    Returns:
        M points. Fewer than ``MIN_POINTS`` cannot be laid out by UMAP and are put on their principal
        axes (zeros where there is no axis); ``method`` says so.

    Raises:
        ValueError: ``features`` is not a matrix.
    """
    if features.ndim != 2:
        raise ValueError(f"features must be (M, D), not of shape {features.shape}")
    count = len(features)
    if count < MIN_POINTS:
        method = f"principal axes, because UMAP needs at least {MIN_POINTS} points and there are {count}"
        return Projection(_principal_axes(features), method)
    # Seconds to import (numba): only a run that draws the map pays.
    import umap
    from sklearn.neighbors import NearestNeighbors

    neighbours = min(NEIGHBOURS, count - 1)
    distances, indices = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(features).kneighbors(features)
    mapper = umap.UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1, precomputed_knn=(indices, distances))
    with warnings.catch_warnings():
        # True and irrelevant: nothing new is put on the map later.
        warnings.filterwarnings("ignore", message=r"precomputed_knn\[2\]")
        points = mapper.fit_transform(features)
    return Projection(np.asarray(points, np.float32), "UMAP")


def _principal_axes(features: Float32) -> Float32:
    points = np.zeros((len(features), 2), np.float32)
    if len(features):
        centred = features - features.mean(axis=0)
        left, scale, _ = np.linalg.svd(centred, full_matrices=False)
        axes = min(2, len(scale))
        points[:, :axes] = left[:, :axes] * scale[:axes]
    return points
