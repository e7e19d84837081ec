"""K-means centroids on the CPU by scikit-learn: of all rows, or of a sample, and then some passes over all rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pipeline.artifacts import Float32, Float64
from pipeline.cluster.assignment import Chunks, check_k, in_order
from pipeline.cluster.lloyd import lloyd
from pipeline.progress import tell

SAMPLE_ROWS = 20_000
"""Rows drawn from all of a large pool to start from, or 100 a cluster where that is more."""
SEEN_ROWS = 3_000
"""Of the sample, what k-means++ chooses from, or 30 a cluster where that is more: of all of it, half a start's time."""
STARTS_AND_CLUSTERS = 300
"""Starts x K on the sample, at most: starts differ by percents at K = 30, by a tenth of one at K = 300."""
START_ITERATIONS = 20
"""Lloyd's iterations on the sample, after which the best of several starts is nearly always known."""
SAMPLE_ITERATIONS = 25
"""The same where there is one start: what comes after moves the centroids further anyway."""
PASSES = 10
"""Lloyd's passes over all rows after the start, at most: 60 more would lower the inertia by a tenth of a percent."""
LEAST_GAIN = 3e-4
"""Of the inertia: a pass that lowers it by less is the last one."""


def fit(features: Float32, k: int, seed: int, n_init: int, max_iter: int) -> Float32:
    """Centroids (K, D) of ``features`` (N, D), the best of ``n_init`` starts.

    What ``KMeans(n_init=n_init)`` finds, start by start, so that it can tell how far it is.
    """
    from sklearn.cluster import KMeans

    state, best = np.random.RandomState(seed), None
    with _quiet():
        for start in range(n_init):
            model = KMeans(k, n_init=1, max_iter=max_iter, random_state=state).fit(features)
            # As scikit-learn has it: rounding may lower the inertia of one and the same clustering.
            if best is None or (model.inertia_ < best.inertia_ and not _same(model.labels_, best.labels_, k)):
                best = model
            tell(start + 1, n_init)
    assert best is not None, "one start or more"
    return np.asarray(best.cluster_centers_, np.float32)


def _same(labels: NDArray[np.int32], others: NDArray[np.int32], k: int) -> bool:
    """Whether each cluster lies within one of the other clustering."""
    return len(np.unique(labels.astype(np.int64) * k + others)) == len(np.unique(labels))


def fit_large(chunks: Chunks, k: int, seed: int, n_init: int, max_iter: int) -> Float32:
    """Centroids (K, D) of a large pool: a K-means of a uniform sample, then Lloyd's passes over all rows.

    About the inertia of ``fit`` of everything, in a fraction of the time, and with no copy of the features
    (docs/dev/log.md). Memory: the sample, a copy for each start that runs at once, two of what k-means++ sees, and some
    blocks, whatever N is.

    Args:
        n_init: starts on the sample, at most ``STARTS_AND_CLUSTERS`` / K.

    Raises:
        InputError: ``k`` is below 1 or above the number of rows.
    """
    sample = _uniform_sample(chunks, max(SAMPLE_ROWS, 100 * k), seed)
    check_k(k, len(sample))  # a sample below its size is the whole stream
    start = start_of_sample(sample, k, seed, max(1, min(n_init, STARTS_AND_CLUSTERS // k)), max_iter)
    return lloyd(chunks, start, min(max_iter, PASSES), LEAST_GAIN)


def start_of_sample(sample: Float32, k: int, seed: int, starts: int, max_iter: int) -> Float32:
    """Centroids (K, D) of a sample whose rows are in random order; starts side by side, on a core each."""
    # Of the first rows; in float64, since scikit-learn would convert float32 rows anew for every one of K steps.
    rows = sample[: max(SEEN_ROWS, 30 * k)].astype(np.float64)
    iterations = min(max_iter, SAMPLE_ITERATIONS if starts == 1 else START_ITERATIONS)
    seeds = np.random.default_rng(seed).integers(2**32, size=starts).tolist()
    with _quiet():
        found = list(in_order(partial(_start, sample=sample, rows=rows, k=k, iterations=iterations), seeds))
        _, best = min(found, key=lambda each: each[0])
        return best if starts == 1 else _kmeans(sample, k, best, max_iter)[1]


def _start(seed: int, sample: Float32, rows: Float64, k: int, iterations: int) -> tuple[float, Float32]:
    """As ``_kmeans`` of the sample, from what k-means++ chooses of ``rows``."""
    from sklearn.cluster import kmeans_plusplus

    # Said again, since OpenMP's limit is of the thread that says it; several would add up in an order of their own.
    with threadpool_limits(limits=1):
        chosen, _ = kmeans_plusplus(rows, k, random_state=seed)
        # No tolerance: it takes a copy of the sample to find one, and few starts would end before their iterations do.
        return _kmeans(sample, k, chosen.astype(np.float32), iterations, tol=0)


def _kmeans(features: Float32, k: int, start: Float32 | str, max_iter: int, **more: float) -> tuple[float, Float32]:
    """Inertia and centroids (K, D), of one start unless ``more`` says otherwise."""
    # Here and above, because it takes seconds to load and choosing a backend needs none of it.
    from sklearn.cluster import KMeans

    settings = {"n_init": 1, "random_state": 0, **more}
    model = KMeans(k, init=start, max_iter=max_iter, **settings).fit(features)
    return float(model.inertia_), np.asarray(model.cluster_centers_, np.float32)


@contextmanager
def _quiet() -> Iterator[None]:
    """Around all threads: Python's filters are the process's."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # "Fewer distinct clusters than asked for": the door finds that out itself, and refuses.
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def _uniform_sample(chunks: Chunks, size: int, seed: int) -> Float32:
    """``size`` rows (all, if there are fewer) with the smallest of random keys; chunk sizes don't matter."""
    rng = np.random.default_rng(seed)
    keys, rows = np.empty(0), np.empty((0, 0), np.float32)
    for chunk in chunks():
        new, free = rng.random(len(chunk)), size - len(keys)
        if free:
            keys = np.concatenate([keys, new[:free]])
            rows = np.concatenate([rows, chunk[:free]]) if rows.size else chunk[:free].copy()
        if len(chunk) > free:
            # Into the places of those that go: a full sample is not copied for every chunk.
            likely = free + np.flatnonzero(new[free:] < keys.max())
            kept = np.argsort(np.concatenate([keys, new[likely]]), kind="stable")[:size]
            come = likely[kept[kept >= size] - size]
            left = np.ones(size, bool)
            left[kept[kept < size]] = False
            keys[left], rows[left] = new[come], chunk[come]
    return rows[np.argsort(keys, kind="stable")]
