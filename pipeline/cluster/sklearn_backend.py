"""K-means centroids by scikit-learn, on the CPU: Lloyd's algorithm whole, or minibatches of a stream."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np

from pipeline.artifacts import Float32
from pipeline.cluster.assignment import Chunks, check_k

SAMPLE_ROWS = 20_000
"""Rows drawn from all of a stream to start from, or 100 a cluster where that is more."""
BATCH_ROWS = 4096
PASSES = 3
"""Passes over a stream after the start, which is already a full K-means of the sample."""


def fit(features: Float32, k: int, seed: int, n_init: int, max_iter: int) -> Float32:
    """Centroids (K, D) of ``features`` (N, D): k-means++ starts, Lloyd's iterations, best of ``n_init``."""
    # Here and below: seconds to load, which whoever only asks for a backend does not pay.
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    model = KMeans(n_clusters=k, init="k-means++", n_init=n_init, max_iter=max_iter, random_state=seed)
    with warnings.catch_warnings():
        # "Fewer distinct clusters than asked for": the door finds that out itself, and refuses.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features)
    return np.asarray(model.cluster_centers_, np.float32)


def fit_minibatch(chunks: Chunks, k: int, seed: int, n_init: int, max_iter: int) -> Float32:
    """Centroids (K, D) of a stream: ``fit`` of a uniform sample, then minibatch passes over all rows.

    Starting from the first chunk, as ``partial_fit`` does by itself, would see one class only
    where a pool is sorted by folder. Memory: the sample and two batches, whatever N is.

    Raises:
        InputError: ``k`` is below 1 or above the number of rows.
    """
    from sklearn.cluster import MiniBatchKMeans

    sample = _uniform_sample(chunks, max(SAMPLE_ROWS, 100 * k), seed)
    check_k(k, len(sample))  # a sample below its size is the whole stream
    model = MiniBatchKMeans(
        n_clusters=k,
        init=fit(sample, k, seed, n_init, max_iter),
        n_init=1,
        random_state=seed,
        # Moving small clusters to random rows helps a bad start; here it would throw away rare classes.
        reassignment_ratio=0.0,
    )
    for _ in range(PASSES):
        for batch in _batches(chunks, BATCH_ROWS):
            model.partial_fit(batch)
    return np.asarray(model.cluster_centers_, np.float32)


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


def _batches(chunks: Chunks, size: int) -> Iterator[Float32]:
    """The stream cut anew into batches of ``size`` rows, so that its own cuts don't change the result."""
    waiting: list[Float32] = []
    count = 0
    for chunk in chunks():
        for start in range(0, len(chunk), size):
            waiting.append(chunk[start : start + size])
            count += len(waiting[-1])
            if count >= size:
                joined = np.concatenate(waiting)
                yield joined[:size]
                waiting, count = [joined[size:]], count - size
    if count:
        yield np.concatenate(waiting)
