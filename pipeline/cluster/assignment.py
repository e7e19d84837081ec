"""From centroids to clusters: nearest centroid, exact distance, and no cluster left empty."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.ahead import map_ahead
from pipeline.artifacts import Float32, Float64, Int64
from pipeline.errors import InputError
from pipeline.machine import cores
from pipeline.progress import counted

Chunks = Callable[[], Iterable[Float32]]
"""Called once a pass over the features: (n, D) float32 chunks, always the same rows in the same order."""

A = TypeVar("A")
B = TypeVar("B")
BLOCK_ROWS = 4096
"""Rows compared with all centroids at once; bounds the float64 copies to 64 MiB at D = 2048."""
_FLOATS_IN_CACHE = 1 << 15
"""float64 numbers that are worked on at once where little is done to each."""


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
        raise InputError(
            f"cluster.k={k} is more than the pool's {counted(n, 'sample')}; lower cluster.k to {n} or less."
        )


def assign(chunks: Chunks, centroids: Float32) -> Assignment:
    """Each row to its nearest centroid; then an empty cluster moves to the row farthest from its own.

    Raises:
        InputError: fewer distinct rows than centroids.
    """
    nearest = partial(_nearest, centroids=centroids, compared=Compared.of(centroids))
    labels, squared = [], []
    for label, distance in in_order(nearest, _blocks(chunks)):
        labels.append(label)
        squared.append(distance)
    # Of centroids that coincide only the first may have rows: which one rounding prefers means nothing.
    _, first, inverse = np.unique(centroids, axis=0, return_index=True, return_inverse=True)
    merged = first[inverse].astype(np.int32)[np.concatenate(labels)]
    return _fill_empty(chunks, Assignment(centroids.copy(), merged, np.concatenate(squared)))


def to_nearest(rows: Float32, centroids: Float32) -> tuple[NDArray[np.int32], Float32]:
    """(n,) number of the nearest centroid of each row (n, D), and (n,) Euclidean distance to it. No centroid moves."""
    nearest = partial(_nearest, centroids=centroids, compared=Compared.of(centroids))
    found = list(in_order(nearest, _blocks(lambda: [rows])))
    if not found:
        return np.empty(0, np.int32), np.empty(0, np.float32)
    labels, squared = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return labels.astype(np.int32), np.sqrt(squared).astype(np.float32)


def in_order(call: Callable[[A], B], blocks: Iterable[A]) -> Iterator[B]:
    """``call`` of every block, on all cores, in the blocks' order; a few blocks are held at a time."""
    workers = cores()
    yield from map_ahead(call, blocks, threads=workers, ahead=2 * workers)


@dataclass(frozen=True)
class Compared:
    """Centroids c as rows x are compared with them in float32, about a point m for less cancellation.

    |x - c|^2 / 2 is |x - m|^2 / 2, which all centroids share, and half - x (c - m): so the rows need not be moved,
    which takes half as long as the product does.
    """

    middle: Float32
    """(D,) m; any point will do, so it is one that float32 has exactly."""
    around: Float32
    """(K, D) c - m."""
    half: Float32
    """(K,) |c - m|^2 / 2 + m (c - m)."""

    @classmethod
    def of(cls, centroids: Float32, middle: Float32 | None = None) -> Compared:
        """About ``middle``; none: the centroids' mean."""
        if middle is None:
            middle = centroids.mean(axis=0, dtype=np.float64).astype(np.float32)
        around = centroids - middle.astype(np.float64)
        half = (around**2).sum(axis=1) / 2 + around @ middle
        return cls(middle, around.astype(np.float32), half.astype(np.float32))

    def scores(self, rows: Float32) -> Float32:
        """(n, K) of ``rows`` (n, D): |x - c|^2 / 2 less the part that all centroids share."""
        score = rows @ self.around.T
        return np.subtract(self.half, score, out=score)

    def error(self, rows: Float32) -> float:
        """How far the difference of two scores may be off: each is a sum of D rounded products, and some more."""
        longest, farthest = (float(np.sqrt(np.einsum("nd,nd->n", each, each).max())) for each in (rows, self.around))
        roundings, eps = rows.shape[1] + 8, float(np.finfo(np.float32).eps)
        return 2 * roundings * eps * farthest * (longest + farthest + float(np.linalg.norm(self.middle)))


def _nearest(rows: Float32, centroids: Float32, compared: Compared) -> tuple[Int64, Float64]:
    """(n,) number of the nearest centroid (the lowest of equals) and (n,) squared distance to it.

    In float32 first; rows whose two nearest are closer together than float32's error are looked at again in
    float64. So the answer is float64's, in half the time.
    """
    score = compared.scores(rows)
    label = score.argmin(axis=1)
    within = score[np.arange(len(rows)), label] + np.float32(compared.error(rows))
    # All that may be the nearest, row by row: a row that comes twice is doubtful.
    close = np.flatnonzero(score <= within[:, None]) // len(centroids)
    doubtful = np.unique(close[1:][close[1:] == close[:-1]])
    label[doubtful] = _scores(rows[doubtful], centroids).argmin(axis=1)
    return label, _squared(rows, centroids, label)


def _scores(rows: Float32, centroids: Float32) -> Float64:
    """(n, K) in float64: |x - c|^2 / 2 less its part that all centroids share."""
    middle = centroids.mean(axis=0, dtype=np.float64)
    around = centroids - middle
    return np.asarray((around**2).sum(axis=1) / 2 - (rows - middle) @ around.T)


def _squared(rows: Float32, centroids: Float32, label: Int64) -> Float64:
    """(n,) |x - c|^2 in float64, c of each row's ``label`` (n,)."""
    squared, few, centres = np.empty(len(rows)), max(1, _FLOATS_IN_CACHE // rows.shape[1]), centroids.astype(np.float64)
    for start in range(0, len(rows), few):
        here = slice(start, start + few)
        gap = centres[label[here]]
        np.subtract(gap, rows[here], out=gap)
        np.einsum("nd,nd->n", gap, gap, out=squared[here])
    return squared


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
                f"The pool has only {counted(k - empty.size, 'distinct feature vector')} for cluster.k={k}; "
                f"lower cluster.k to {k - empty.size} or less."
            )
        centroids[empty[0]] = _row(chunks, farthest)
        start = 0
        for block in _blocks(chunks):
            here = slice(start, start + len(block))
            moved = _squared(block, centroids[empty[:1]], np.zeros(len(block), np.int64))
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
