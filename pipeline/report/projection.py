"""The report's flat map of the features: UMAP, seeded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.artifacts import Float32
from pipeline.cluster.umap2d import FEWEST, umap2d


@dataclass(frozen=True)
class Projection:
    """Points in the plane, and in words what put them there.

    Shapes: points (M, 2) float32. ``method`` is "UMAP", or another method with the reason.
    """

    points: Float32
    method: str


def project_2d(features: Float32, seed: int) -> Projection:
    """Features in the plane by UMAP; on unit-norm features its Euclidean neighbours are those by cosine.

    Args:
        features: (M, D) float32, unit norm; the caller keeps M to ``report.umap_points``.
        seed: decides the start and the sampling of the layout.

    Returns:
        M points. Fewer than ``umap2d.FEWEST`` cannot be laid out by UMAP and are put on their principal
        axes (zeros where there is no axis); ``method`` says so.

    Raises:
        ValueError: ``features`` is not a matrix.
    """
    if features.ndim != 2:
        raise ValueError(f"features must be (M, D), not of shape {features.shape}")
    count = len(features)
    if count < FEWEST:
        method = f"principal axes, because UMAP needs at least {FEWEST} points and there are {count}"
        return Projection(_principal_axes(features), method)
    return Projection(umap2d(features, seed), "UMAP")


def _principal_axes(features: Float32) -> Float32:
    points = np.zeros((len(features), 2), np.float32)
    if len(features):
        centred = features - features.mean(axis=0)
        left, scale, _ = np.linalg.svd(centred, full_matrices=False)
        axes = min(2, len(scale))
        points[:, :axes] = left[:, :axes] * scale[:axes]
    return points
