"""K-means beside centroids that do not move: where what is labelled already stands for its surroundings.

N = rows, D = dimensions, F = fixed centroids, K = new ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.artifacts import Float32, Int64
from pipeline.cluster.assignment import BLOCK_ROWS, Compared
from pipeline.cluster.lloyd import lloyd

PASSES, LEAST_GAIN = 30, 1e-4
"""Lloyd's passes at most, and the share of the inertia that one must lower for another to follow."""
TRIES = 2
"""k-means++ looks at this many candidates and ln K more for each centroid, as scikit-learn's."""
SEEN_ROWS = 20_000
"""Rows that k-means++ chooses from, drawn by the seed, or 30 a centroid where that is more."""


def kmeans_around(features: Float32, fixed: Float32, k: int, seed: int) -> tuple[Float32, Int64]:
    """New centroids (K, D) beside ``fixed`` (F, D), and each row's number: 0 .. F-1 fixed, F .. F+K-1 new.

    k-means++ starts from the fixed ones, so new ones begin where nothing is near; then Lloyd's passes move the new ones
    alone. Of one start: the same for any number of threads.
    """
    if not k:
        return np.empty((0, features.shape[1]), np.float32), _labels(features, fixed)
    with threadpool_limits(limits=1):
        start = np.concatenate([fixed, plus_plus(features, fixed, k, seed)])

        def chunks() -> Iterator[Float32]:
            yield features

        found = lloyd(chunks, start, PASSES, LEAST_GAIN, fixed=len(fixed))
        return found[len(fixed) :], _labels(features, found)


def plus_plus(features: Float32, fixed: Float32, k: int, seed: int) -> Float32:
    """(K, D) rows, each drawn by its squared distance to the nearest centroid before it; of several draws the best.

    Source: greedy k-means++ (Arthur & Vassilvitskii, SODA 2007, section 5), begun with the fixed centroids.
    """
    rng = np.random.default_rng(seed)
    seen = max(SEEN_ROWS, 30 * k)
    rows = features if len(features) <= seen else features[np.sort(rng.choice(len(features), seen, replace=False))]
    norms = np.einsum("nd,nd->n", rows, rows)

    def squared(centres: Float32) -> Float32:
        found = norms[:, None] - 2 * (rows @ centres.T) + np.einsum("kd,kd->k", centres, centres)
        return np.maximum(found, 0, out=found)

    nearest = np.full(len(rows), np.inf, np.float32)
    for at in range(0, len(fixed), BLOCK_ROWS):
        np.minimum(nearest, squared(fixed[at : at + BLOCK_ROWS]).min(axis=1), out=nearest)
    chosen = np.empty((k, features.shape[1]), np.float32)
    for place in range(k):
        weights = np.ones(len(rows)) if np.isinf(nearest[0]) else nearest.astype(np.float64)
        upto = np.cumsum(weights)
        if upto[-1] <= 0:  # every row lies on a centroid
            upto = np.arange(1.0, len(rows) + 1)
        drawn = np.searchsorted(upto, rng.random(TRIES + int(np.log(k))) * upto[-1]).clip(max=len(rows) - 1)
        candidates = np.minimum(nearest[:, None], squared(rows[drawn]))
        best = int(candidates.sum(axis=0, dtype=np.float64).argmin())
        chosen[place], nearest = rows[drawn[best]], candidates[:, best].copy()
    return chosen


def _labels(features: Float32, centroids: Float32) -> Int64:
    compared = Compared.of(centroids)
    blocks = range(0, len(features), BLOCK_ROWS)
    return np.concatenate([compared.scores(features[at : at + BLOCK_ROWS]).argmin(axis=1) for at in blocks])
