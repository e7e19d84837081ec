"""From a million features to a query: our door beside scikit-learn, faiss and Lightly's diversity selection.

The features are made here: a long-tailed mixture (weights as 1/rank) of 200 Gaussians with 8 free directions each,
their centres in 24 common ones, on the unit sphere; so clusters overlap, and K does not fit their number. Every
candidate runs in a process of its own on the same file, loaded before the clock starts, with all cores of the
machine; its peak includes the features. All of them give a label to every row (faiss by a search of its index, Lightly
has none), as a query needs it. Inertia is computed in one way for all. A peer is *equal* when its inertia is at most
0.5% above ours: a faster one with a worse inertia solved another problem, and is listed all the same. At K = 30 one
seed is a percent better or worse than another, so those that take seconds run with several, and means count.

Our door is what comes on top of a library's work: beside labels, distances in float64, clusters that are never empty
and numbers that mean something. The library's work is the backend's, and the search for labels by scikit-learn.
"""

from __future__ import annotations

import contextlib
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import sklearn.cluster
from sklearn.metrics import pairwise_distances_argmin_min

from pipeline.artifacts import Float32
from pipeline.cluster import kmeans, sklearn_backend
from pipeline.select.pool_view import PoolView
from pipeline.select.registry import strategy
from speed.measure import Row, in_a_process_of_its_own

DIMENSIONS = 128
PARTS = 200
CHUNK = 20_000
EQUAL = 1.005
"""Times our inertia."""
NOT_SLOW = 10**8
"""N x K up to which ten starts on all rows are waited for."""
SEEDS = 5
"""Of candidates that are quick."""


@dataclass(frozen=True)
class Outcome:
    seconds: float
    peak: int
    """Bytes above the process's own before it had the features."""
    inertia: float | None
    picks: int | None = None
    """Distinct samples among the first K of the order."""
    door_seconds: float | None = None
    """Of ``seconds``, what our K-means took, its backend included."""
    backend_seconds: float | None = None
    """Of ``seconds``, what the backend itself took."""
    label_seconds: float | None = None
    """What scikit-learn takes to find the nearest of our centroids, with its distance, for every row."""

    @classmethod
    def mean(cls, every: list[Outcome]) -> Outcome:
        """Of several seeds; the largest peak, the fewest picks."""

        def mean(name: str) -> float | None:
            values = [getattr(each, name) for each in every]
            return None if None in values else statistics.fmean(values)

        return cls(
            statistics.fmean(each.seconds for each in every),
            max(each.peak for each in every),
            mean("inertia"),
            min((each.picks for each in every if each.picks is not None), default=None),
            mean("door_seconds"),
            mean("backend_seconds"),
            mean("label_seconds"),
        )


def measure(size: int = 1_000_000, clusters: tuple[int, ...] = (30, 1000)) -> Row:
    ratios, peaks, doors, fastest, picked, details = [], [], [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "features.npy")
        in_a_process_of_its_own(write_features, file, size)
        for k in clusters:
            every = {
                name: [in_a_process_of_its_own(run, file, call, seed)[0] for seed in range(seeds)]
                for name, (seeds, call) in candidates(size, k).items()
            }
            found = {name: Outcome.mean(outcomes) for name, outcomes in every.items()}
            ours = found["ours, to the query"]
            assert ours.inertia and ours.door_seconds and ours.backend_seconds and ours.label_seconds
            equal = {
                name: each.seconds
                for name, each in found.items()
                if not name.startswith("ours") and each.inertia is not None and each.inertia <= EQUAL * ours.inertia
            }
            peer = min(equal, key=lambda name: equal[name]) if equal else None
            fastest.append(None if peer is None else ours.door_seconds <= equal[peer])
            ratios.append(f"K = {k}: " + (f"{equal[peer] / ours.seconds:.1f}x {peer}" if peer else "no peer is equal"))
            doors.append(ours.door_seconds / (ours.backend_seconds + ours.label_seconds) - 1)
            peaks.append(ours.peak / (4 * DIMENSIONS * size))
            picked.append(ours.picks == k)
            details += [(f"K = {k}, {name}", _words(each, every[name], ours.inertia)) for name, each in found.items()]
            alone = ours.door_seconds / ours.backend_seconds - 1
            details.append(
                (f"K = {k}, our door", f"{doors[-1]:+.1%} of backend and labels; {alone:+.1%} of the backend alone")
            )
    for library in ("faiss", "lightly_mundig"):
        if find_spec(library) is None:
            details.append((library, "not installed; it is in the bench extra"))
    return Row(
        f"{size:,} x {DIMENSIONS} features to the query",
        f"{'; '.join(ratios)}; door {max(doors):+.0%}, peak {max(peaks):.2f}x the features, "
        f"{'always' if all(picked) else 'not always'} K distinct picks",
        "fastest at equal inertia; door <= +10%; peak < 2x; K distinct picks",
        None if None in fastest else all(fastest) and max(doors) <= 0.1 and max(peaks) < 2 and all(picked),
        details,
    )


def candidates(size: int, k: int) -> dict[str, tuple[int, Callable[..., dict[str, Any]]]]:
    """By name, with the number of seeds; each takes rows and ``seed`` and gives ``centroids`` or ``picks`` or both."""
    slow, seeds = size * k > NOT_SLOW, SEEDS if size * k <= NOT_SLOW else 1
    of_a_sample = max(20_000, 100 * k) // k
    every: dict[str, tuple[int, Callable[..., dict[str, Any]]]] = {
        "ours, to the query": (seeds, partial(ours, k=k)),
        "scikit-learn KMeans, one start": (1, partial(scikit_learn, k=k, n_init=1)),
        f"scikit-learn KMeans of {of_a_sample * k:,} rows, {1 if slow else 'ten'} start(s)": (
            seeds,
            partial(scikit_learn, k=k, n_init=1 if slow else 10, rows=of_a_sample * k),
        ),
        "scikit-learn MiniBatchKMeans": (1, partial(minibatch, k=k)),
    }
    for starts in () if slow else (3, 5, 7):
        every[f"scikit-learn KMeans of {of_a_sample * k:,} rows, {starts} starts"] = (
            seeds,
            partial(scikit_learn, k=k, n_init=starts, rows=of_a_sample * k),
        )
    if find_spec("faiss") is not None:
        every["faiss, as it comes (a sample of 256 K, 25 iterations)"] = (seeds, partial(by_faiss, k=k))
        for iterations in (10, 15, 25):
            every[f"faiss, all rows, {iterations} iterations, k-means++"] = (
                1,
                partial(by_faiss, k=k, rows=size, niter=iterations, plus_plus=True),
            )
        every["faiss, all rows, 25 iterations"] = (1, partial(by_faiss, k=k, rows=size))
        samples = [(of_a_sample, starts) for starts in (10, 15, 20, 30)] + [(100_000 // k, 3), (100_000 // k, 10)]
        for rows, starts in [(250, 1), (500, 1)] if slow else samples:
            every[f"faiss, {rows * k:,} rows, 25 iterations, k-means++, best of {starts}"] = (
                seeds,
                partial(by_faiss, k=k, rows=rows, nredo=starts, plus_plus=True),
            )
    if not slow:
        every["scikit-learn KMeans, ten starts"] = (1, partial(scikit_learn, k=k, n_init=10))
        if find_spec("faiss") is not None:
            every["faiss, all rows, 25 iterations, best of 10"] = (1, partial(by_faiss, k=k, rows=size, nredo=10))
    if find_spec("lightly_mundig") is not None:
        every["Lightly's diversity selection"] = (1, partial(lightly, k=k))
    return every


def run(file: str, call: Callable[..., dict[str, Any]], seed: int) -> Outcome:
    call(features(0, 2000), seed=seed)  # imports and first calls, outside the clock and the peak
    before = _peak()
    loaded = np.load(file)
    began = time.perf_counter()
    result = call(loaded, seed=seed)
    seconds = time.perf_counter() - began
    peak = _peak() - before
    centroids, picks, label_seconds = result.get("centroids"), result.get("picks"), None
    if "backend_seconds" in result:
        began = time.perf_counter()
        pairwise_distances_argmin_min(loaded, centroids)
        label_seconds = time.perf_counter() - began
    return Outcome(
        seconds,
        peak,
        None if centroids is None else inertia(loaded, centroids),
        None if picks is None else len(set(picks)),
        result.get("door_seconds"),
        result.get("backend_seconds"),
        label_seconds,
    )


def ours(loaded: Float32, *, k: int, seed: int) -> dict[str, Any]:
    """The door, the view and the order, as the cluster and query stages call them."""
    began = time.perf_counter()
    with _stopwatch() as backend_seconds:
        found = kmeans(loaded, k, seed=seed, backend="sklearn")
    door_seconds = time.perf_counter() - began
    confidence = np.random.default_rng(1).random(len(loaded))
    view = PoolView(np.arange(len(loaded)), found.labels, found.distance, confidence, confidence, k)
    order = strategy("hard-to-contrast").order(view, seed=0)
    # One of each cluster: a query of K must hold K samples of K clusters.
    picks = order[:k].tolist()
    assert len(set(found.labels[picks].tolist())) == k
    return {
        "centroids": found.centroids,
        "picks": picks,
        "door_seconds": door_seconds,
        "backend_seconds": sum(backend_seconds),
    }


def scikit_learn(loaded: Float32, *, k: int, seed: int, n_init: int, rows: int = 0) -> dict[str, Any]:
    """Of all rows, or of a sample, and then labels for all."""
    model = sklearn.cluster.KMeans(k, n_init=n_init, random_state=seed)
    if 0 < rows < len(loaded):
        model.fit(loaded[np.random.default_rng(seed).choice(len(loaded), rows, replace=False)])
        model.predict(loaded)
    else:
        model.fit(loaded)
    return {"centroids": model.cluster_centers_}


def minibatch(loaded: Float32, *, k: int, seed: int) -> dict[str, Any]:
    return {"centroids": sklearn.cluster.MiniBatchKMeans(k, n_init=3, random_state=seed).fit(loaded).cluster_centers_}


def by_faiss(
    loaded: Float32, *, k: int, seed: int, rows: int = 0, niter: int = 25, nredo: int = 1, plus_plus: bool = False
) -> dict[str, Any]:
    """``rows``: of a sample, for each centroid."""
    import faiss

    more: dict[str, Any] = {"max_points_per_centroid": rows} if rows else {}
    if plus_plus:
        more["init_method"] = faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS
    model = faiss.Kmeans(loaded.shape[1], k, niter=niter, nredo=nredo, seed=seed + 1, **more)
    model.train(loaded)
    model.assign(loaded)
    return {"centroids": model.centroids}


def lightly(loaded: Float32, *, k: int, seed: int) -> dict[str, Any]:
    """Another idea of a query (far from all that is chosen, no clusters), at the same budget; it has no seed."""
    from lightly_mundig import Selection

    selection = Selection()
    selection.add_diversifying_strategy(loaded, 1.0)
    return {"picks": selection.run_selection([], len(loaded), k)}


def write_features(file: str, size: int) -> None:
    out = np.lib.format.open_memmap(file, "w+", np.float32, (size, DIMENSIONS))
    for start in range(0, size, CHUNK):
        stop = min(start + CHUNK, size)
        out[start:stop] = features(start, stop)
    out.flush()


def features(start: int, stop: int) -> Float32:
    """Rows of the mixture; ``start`` seeds them, so that they are made chunk by chunk."""
    once = np.random.default_rng(0)
    centres = once.normal(size=(PARTS, 24)) @ once.normal(size=(24, DIMENSIONS))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    directions = (once.normal(size=(PARTS, 8, DIMENSIONS)) * 0.6 / np.sqrt(8 * DIMENSIONS)).astype(np.float32)
    weights = 1 / np.arange(1, PARTS + 1)
    rng = np.random.default_rng([1, start])
    part = rng.choice(PARTS, stop - start, p=weights / weights.sum())
    rows = centres[part] + rng.normal(size=(stop - start, DIMENSIONS)) * 0.3 / np.sqrt(DIMENSIONS)
    free = rng.normal(size=(stop - start, 8))
    for each in range(PARTS):
        rows[part == each] += free[part == each] @ directions[each]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def inertia(rows: Float32, centroids: Float32) -> float:
    """Sum of squared distances to the nearest centroid; exact once that is known."""
    half, total = (centroids**2).sum(axis=1) / 2, 0.0
    for start in range(0, len(rows), 8192):
        block = rows[start : start + 8192]
        gap = block.astype(np.float64) - centroids[(half - block @ centroids.T).argmin(axis=1)]
        total += float(np.einsum("nd,nd->", gap, gap))
    return total


@contextlib.contextmanager
def _stopwatch() -> Iterator[list[float]]:
    """Seconds of every call of the CPU backend inside the block, whichever way it goes."""
    seconds: list[float] = []
    names = ("fit", "fit_large")
    originals = {name: getattr(sklearn_backend, name) for name in names}

    def timed(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        depth.append(0)
        try:
            return call(*arguments, **named)
        finally:
            depth.pop()
            if not depth:  # the ways call each other
                seconds.append(time.perf_counter() - began)

    depth: list[int] = []
    for name, call in originals.items():
        setattr(sklearn_backend, name, partial(timed, call))
    try:
        yield seconds
    finally:
        for name, call in originals.items():
            setattr(sklearn_backend, name, call)


def _words(mean: Outcome, every: list[Outcome], reference: float) -> str:
    seconds = [each.seconds for each in every]
    several = f" ({min(seconds):.1f} to {max(seconds):.1f}, {len(every)} seeds)" if len(every) > 1 else ""
    words = [f"{mean.seconds:.1f} s{several}", f"peak {mean.peak / 2**30:.2f} GiB"]
    if mean.inertia is not None:
        inertias = [each.inertia or 0.0 for each in every]
        spread = f", {min(inertias):,.0f} to {max(inertias):,.0f}" if len(every) > 1 else ""
        words.append(f"inertia {mean.inertia:,.0f} ({mean.inertia / reference - 1:+.2%} of ours{spread})")
    if mean.picks is not None:
        words.append(f"{mean.picks} distinct picks")
    if mean.backend_seconds is not None:
        words.append(
            f"of which K-means {mean.door_seconds:.2f} s, its backend {mean.backend_seconds:.2f} s; "
            f"labels by scikit-learn {mean.label_seconds:.2f} s"
        )
    return ", ".join(words)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
