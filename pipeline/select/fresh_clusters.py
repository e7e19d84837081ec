"""A K-means of its own for every budget, for strategies that take one sample from each cluster."""

from __future__ import annotations

import numpy as np

from pipeline.artifacts import Float32, Int64
from pipeline.cluster import KMeansResult, kmeans
from pipeline.select.pool_view import PoolView

MOST_CLUSTERS = 500
"""At most; beyond them clusters take further turns. The cap of TypiClust's paper and code."""


def cluster_features(features: Float32, k: int, seed: int) -> KMeansResult:
    """K-means of (N, D) by scikit-learn from one start; fewer clusters where there are fewer distinct rows."""
    return kmeans(features, _distinct(features, k), seed, backend="sklearn", n_init=1)


def fresh_clusters(view: PoolView, budget: int, seed: int) -> KMeansResult:
    """One cluster for every labelled sample and every one to be picked, as far as ``MOST_CLUSTERS`` go."""
    k = min(len(view.labelled_rows) + budget, MOST_CLUSTERS)
    if view.fresh_clusters is not None:
        return view.fresh_clusters(k, seed)
    assert view.features is not None
    return cluster_features(view.features, k, seed)


def largest_first(sizes: Int64) -> Int64:
    """(K,) cluster numbers; of equals the lower number, which holds the lower sample id."""
    return np.argsort(-sizes, kind="stable")


def _distinct(features: Float32, most: int) -> int:
    """The number of different rows, up to ``most``; the first few rows are usually enough to tell."""
    seen: set[bytes] = set()
    for row in features:
        seen.add((row + 0).tobytes())  # + 0 makes -0.0 and 0.0 one
        if len(seen) == most:
            break
    return len(seen)
