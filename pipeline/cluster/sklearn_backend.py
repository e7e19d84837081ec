"""K-means centroids on the CPU by scikit-learn: of all rows, or of a sample, and then some passes over all rows."""

from __future__ import annotations

import warnings

import numpy as np

from pipeline.artifacts import Float32
from pipeline.cluster.assignment import Chunks, check_k
from pipeline.cluster.lloyd import lloyd

SAMPLE_ROWS = 20_000
"""Rows drawn from all of a large pool to start from, or 100 a cluster where that is more."""
SAMPLE_ITERATIONS = 25
"""Lloyd's iterations on the sample where there is one start: what comes after moves the centroids further anyway."""
STARTS_AND_CLUSTERS = 300
"""Starts x K on the sample, at most: starts differ by percents at K = 30, by a tenth of one at K = 300."""
PASSES = 10
"""Lloyd's passes over all rows after the start, at most: 60 more would lower the inertia by a tenth of a percent."""
TOLERANCE = 1e-4
"""Of the variance, as scikit-learn's: less movement than this ends the passes."""


def fit(features: Float32, k: int, seed: int, n_init: int, max_iter: int, start: Float32 | None = None) -> Float32:
    """Centroids (K, D) of ``features`` (N, D): Lloyd's iterations from ``start``, or the best of ``n_init`` starts."""
    # Here and below: seconds to load, which whoever only asks for a backend does not pay.
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    model = KMeans(
        n_clusters=k, init="k-means++" if start is None else start, n_init=n_init, max_iter=max_iter, random_state=seed
    )
    with warnings.catch_warnings():
        # "Fewer distinct clusters than asked for": the door finds that out itself, and refuses.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features)
    return np.asarray(model.cluster_centers_, np.float32)


def fit_large(chunks: Chunks, k: int, seed: int, n_init: int, max_iter: int) -> Float32:
    """Centroids (K, D) of a large pool: a K-means of a uniform sample, then Lloyd's passes over all rows.

    About the inertia of ``fit`` of everything, in a fraction of the time, and with no copy of the features
    (docs/log.md). Memory: the sample and some blocks, whatever N is.

    Args:
        n_init: starts on the sample, at most ``STARTS_AND_CLUSTERS`` / K.

    Raises:
        InputError: ``k`` is below 1 or above the number of rows.
    """
    sample = _uniform_sample(chunks, max(SAMPLE_ROWS, 100 * k), seed)
    check_k(k, len(sample))  # a sample below its size is the whole stream
    start = _start(sample, k, seed, max(1, min(n_init, STARTS_AND_CLUSTERS // k)), max_iter)
    return lloyd(chunks, start, min(max_iter, PASSES), TOLERANCE * float(sample.var(axis=0).mean()))


def _start(sample: Float32, k: int, seed: int, n_init: int, max_iter: int) -> Float32:
    """Centroids (K, D) of the sample."""
    if n_init > 1:
        return fit(sample, k, seed, n_init, max_iter)
    from sklearn.cluster import kmeans_plusplus

    # In float64, since scikit-learn would convert float32 rows anew for every one of K steps: half the time.
    chosen, _ = kmeans_plusplus(sample.astype(np.float64), k, random_state=seed)
    return fit(sample, k, seed, 1, min(max_iter, SAMPLE_ITERATIONS), start=chosen.astype(np.float32))


def _uniform_sample(chunks: Chunks, size: int, seed: int) -> Float32:
    """``size`` rows (all, if there are fewer) with the smallest of random keys; chunk sizes don't matter."""
    rng = np.random.default_rng(seed)
    keys = np.empty(0)
    rows = np.empty((0, 0), np.float32)
    for chunk in chunks():
        new = rng.random(len(chunk))
        likely = new < keys[-1] if len(keys) == size else np.ones(len(chunk), bool)
        keys = np.concatenate([keys, new[likely]])
        rows = np.concatenate([rows, chunk[likely]]) if rows.size else chunk[likely]
        kept = np.argsort(keys, kind="stable")[:size]
        keys, rows = keys[kept], rows[kept]
    return rows
