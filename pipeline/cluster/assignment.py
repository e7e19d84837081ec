"""From centroids to clusters: nearest centroid, exact distance, and no cluster left empty."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Float32, Float64, Int64
from pipeline.errors import InputError

Chunks = Callable[[], Iterable[Float32]]
"""Called once a pass over the features: (n, D) float32 chunks, always the same rows in the same order."""

BLOCK_ROWS = 4096
"""Rows compared with all centroids at once; bounds the float64 copies to 64 MiB at D = 2048."""


@dataclass(frozen=True)
class Assignment:
    """Shapes: centroids (K, D) float32; labels int32 and squared (distance to the own centroid) float64 (N,)."""

    centroids: Float32
    labels: NDArray[np.int32]
    squared: Float64


def check_k(k: int, n: int) -> None:
    """Refuse numbers of clusters that ``n`` samples cannot have.

    Raises:
        InputError: ``k`` is below 1 or above ``n``.
    """
    if k < 1:
        raise InputError(f"cluster.k is at least 1, not {k}.")
    if k > n:
        raise InputError(f"cluster.k={k} is more than the pool's {n} samples; lower cluster.k to {n} or less.")


def assign(chunks: Chunks, centroids: Float32) -> Assignment:
    """Each row to its nearest centroid; then an empty cluster moves to the row farthest from its own.

    Raises:
        InputError: fewer distinct rows than centroids.
    """
    labels, squared = [], []
    for block in _blocks(chunks):
        label, distance = _nearest(block, centroids)
        labels.append(label)
        squared.append(distance)
    # Of centroids that coincide only the first may have rows: which one rounding prefers means nothing.
    _, first, inverse = np.unique(centroids, axis=0, return_index=True, return_inverse=True)
    merged = first[inverse].astype(np.int32)[np.concatenate(labels)]
    return _fill_empty(chunks, Assignment(centroids.copy(), merged, np.concatenate(squared)))


def _nearest(rows: Float32, centroids: Float32) -> tuple[Int64, Float64]:
    """(n,) number of the nearest centroid (the lowest of equals) and (n,) squared distance to it."""
    # |x - c|^2 less its part |x|^2, which all centroids share; about their mean, for less cancellation.
    middle = centroids.mean(axis=0, dtype=np.float64)
    around = centroids - middle
    score = (around**2).sum(axis=1) / 2 - (rows - middle) @ around.T
    label = score.argmin(axis=1)
    return label, _squared(rows, centroids[label])


def _squared(rows: Float32, points: Float32) -> Float64:
    gap = rows.astype(np.float64) - points
    return np.asarray(np.einsum("nd,nd->n", gap, gap))


def _fill_empty(chunks: Chunks, found: Assignment) -> Assignment:
    """Give every empty cluster the row farthest from its centroid, and the rows that are then closer to it.

    Each turn fills one cluster for good (its row lies at distance 0), so there are at most K turns.
    """
    centroids, labels, squared = found.centroids, found.labels, found.squared
    k = len(centroids)
    while True:
        empty = np.flatnonzero(np.bincount(labels, minlength=k) == 0)
        if not empty.size:
            return found
        farthest = int(squared.argmax())
        if squared[farthest] == 0:
            # Every row lies on a centroid, so the clusters in use are the distinct rows.
            raise InputError(
                f"The pool has only {k - empty.size} distinct feature vectors for cluster.k={k} clusters; "
                f"lower cluster.k to {k - empty.size} or less."
            )
        centroids[empty[0]] = _row(chunks, farthest)
        start = 0
        for block in _blocks(chunks):
            here = slice(start, start + len(block))
            moved = _squared(block, centroids[empty[:1]])
            closer = moved < squared[here]
            labels[here][closer] = empty[0]
            squared[here][closer] = moved[closer]
            start += len(block)


def _row(chunks: Chunks, index: int) -> Float32:
    start = 0
    for chunk in chunks():
        if index < start + len(chunk):
            row: Float32 = chunk[index - start]
            return row
        start += len(chunk)
    raise AssertionError(f"row {index} of {start}: the chunks changed between two passes")


def _blocks(chunks: Chunks) -> Iterator[Float32]:
    for chunk in chunks():
        for start in range(0, len(chunk), BLOCK_ROWS):
            yield chunk[start : start + BLOCK_ROWS]
