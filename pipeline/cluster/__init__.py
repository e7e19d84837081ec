"""K-means: features in, K clusters out, whichever backend does the work.

Source: label diversity in the paper (clusters stand for the unknown classes; docs/method.md, section 1)
and docs/method.md, decisions 7 and 9. Letters: N = samples, D = feature dimensions, K = clusters.

A backend finds centroids and nothing else. Labels, distances, inertia and numbering follow from
the centroids here, in one way for all backends. A backend runs on one CPU thread. A sum over several threads depends on
how many there are, and a query must not depend on the machine's number of cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from pipeline.artifacts import Float32
from pipeline.cluster import cuml_backend, sklearn_backend
from pipeline.cluster.assignment import Assignment, Chunks, assign, check_k
from pipeline.errors import InputError

ROWS_AT_ONCE = 65_536
PAPERS_K = 30


def default_k(budget: int) -> int:
    """K where nobody chose it: the paper's 30, or the budget where that is smaller (docs/method.md, decision 9)."""
    return min(PAPERS_K, budget)


@dataclass(frozen=True)
class KMeansResult:
    """K clusters, each with at least one sample.

    Shapes: labels, distance (N,) in the order of the rows given; centroids (K, D). ``distance`` is
    Euclidean, to the sample's own (nearest) centroid; ``inertia`` is the sum of its squares.
    Cluster 0 holds the first row, cluster 1 the first row that is not in cluster 0, and so on.
    """

    labels: NDArray[np.int32]
    distance: Float32
    centroids: Float32
    inertia: float
    backend: str
    """What ran: sklearn, sklearn-sampled, cuml, or cuml-buffered (input larger than the GPU)."""
    reason: str
    """Why that ran."""


@dataclass(frozen=True)
class Choice:
    """A backend ("cuml" or "sklearn") and the reason for it."""

    backend: str
    reason: str


def choose_backend(backend: str = "auto") -> Choice:
    """Which backend ``kmeans`` will take on this machine.

    Raises:
        InputError: ``cuml`` is asked for and cannot run here (it is never replaced silently).
    """
    if backend == "sklearn":
        return Choice("sklearn", "cluster.backend=sklearn was asked for")
    if backend not in ("auto", "cuml"):
        raise InputError(f"cluster.backend is auto, cuml or sklearn, not '{backend}'.")
    missing = cuml_backend.why_unavailable()
    if backend == "auto":
        if missing:
            return Choice("sklearn", f"cluster.backend=auto, and {missing}")
        return Choice("cuml", "cluster.backend=auto, and cuML and a GPU are both here")
    if missing:
        raise InputError(
            f"cluster.backend=cuml cannot run here: {missing}; install the 'gpu' extra on a machine "
            "with an NVIDIA GPU, or use cluster.backend=sklearn."
        )
    return Choice("cuml", "cluster.backend=cuml was asked for")


def kmeans(
    features: Float32,
    k: int,
    seed: int,
    *,
    backend: str = "auto",
    n_init: int = 10,
    max_iter: int = 300,
    sample_above: int = 100_000,
    say: Callable[[str], None] | None = None,
) -> KMeansResult:
    """Cluster ``features`` (N, D) float32 into exactly ``k`` non-empty clusters.

    Deterministic for a seed, backend and machine, given rows in the same order: the caller passes
    them in ``sample_id`` order, so that the order of rows in files never matters.

    Args:
        n_init: random starts, of which the one with the lowest inertia is kept.
        max_iter: iterations of one start, at most.
        sample_above: beyond this N the sklearn backend starts from a sample of the rows.
        say: is told what runs, and why.

    Raises:
        InputError: ``k`` below 1 or above N, fewer than ``k`` distinct rows, a seed that the
            backends do not take, or ``cuml`` asked for where it cannot run.
    """
    if features.ndim != 2 or features.dtype != np.float32:
        raise ValueError(f"features are (N, D) float32, not {features.shape} {features.dtype}")
    check_k(k, len(features))
    _check_seed(seed)
    choice = choose_backend(backend)
    chunks = _slices(features)
    with threadpool_limits(limits=1):
        if choice.backend == "cuml":
            ran, centroids = cuml_backend.fit(features, k, seed, n_init, max_iter)
        elif len(features) > sample_above:
            ran, centroids = "sklearn-sampled", sklearn_backend.fit_large(chunks, k, seed, n_init, max_iter)
            choice = Choice(ran, f"{choice.reason}; {len(features):,} samples are above {sample_above:,}")
        else:
            ran, centroids = "sklearn", sklearn_backend.fit(features, k, seed, n_init, max_iter)
        return _result(assign(chunks, centroids), ran, choice.reason, say)


def kmeans_stream(
    chunks: Chunks,
    k: int,
    seed: int,
    reason: str = "the features come as a stream",
    *,
    n_init: int = 10,
    max_iter: int = 300,
    say: Callable[[str], None] | None = None,
) -> KMeansResult:
    """``kmeans`` from a sample, by the sklearn backend, of features that do not fit in memory.

    Args:
        chunks: called once a pass, gives (n, D) float32 chunks of any sizes, the rows in
            ``sample_id`` order. The sizes do not change the result.

    Raises:
        InputError: as ``kmeans``.
    """
    _check_seed(seed)
    with threadpool_limits(limits=1):
        centroids = sklearn_backend.fit_large(chunks, k, seed, n_init, max_iter)
        return _result(assign(chunks, centroids), "sklearn-sampled", reason, say)


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise InputError(f"The seed of K-means is 0 to {2**32 - 1}, not {seed}.")


def _slices(features: Float32) -> Chunks:
    def chunks() -> Iterator[Float32]:
        for start in range(0, len(features), ROWS_AT_ONCE):
            yield features[start : start + ROWS_AT_ONCE]

    return chunks


def _result(found: Assignment, ran: str, reason: str, say: Callable[[str], None] | None) -> KMeansResult:
    """Number the clusters by their first row: a backend's own numbers mean nothing."""
    first_row = np.full(len(found.centroids), len(found.labels))
    np.minimum.at(first_row, found.labels, np.arange(len(found.labels)))
    order = np.argsort(first_row)
    number = np.empty(len(order), np.int32)
    number[order] = np.arange(len(order), dtype=np.int32)
    if say is not None:
        say(f"K-means ran on {ran}: {reason}")
    return KMeansResult(
        labels=number[found.labels],
        distance=np.sqrt(found.squared).astype(np.float32),
        centroids=found.centroids[order],
        inertia=float(found.squared.sum()),
        backend=ran,
        reason=reason,
    )
