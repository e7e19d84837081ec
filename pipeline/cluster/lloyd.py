"""Lloyd's passes over rows that need not be in memory, on all cores, with the same result on any number of them.

scikit-learn's own copies all rows, and on several threads adds up in an order of its own. Here rows come in blocks
of one size, each block's sums follow from the block alone, and are added in the blocks' order.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from pipeline.artifacts import Float32, Float64
from pipeline.cluster.assignment import BLOCK_ROWS, Chunks, float32_scores, in_order


def lloyd(chunks: Chunks, centroids: Float32, passes: int, tolerance: float) -> Float32:
    """Centroids (K, D) after some passes; one without rows stays where it is.

    Args:
        passes: at most.
        tolerance: stop when the centroids' squared movements add up to this or less.
    """
    for _ in range(passes):
        total, count = np.zeros(centroids.shape), np.zeros(len(centroids))
        for sums, rows in in_order(partial(_sums, centroids=centroids), batches(chunks, BLOCK_ROWS)):
            total += sums
            count += rows
        moved = np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], centroids).astype(np.float32)
        change = float(((moved - centroids) ** 2).sum())
        centroids = moved
        if change <= tolerance:
            break
    return centroids


def batches(chunks: Chunks, size: int) -> Iterator[Float32]:
    """The stream cut anew into batches of ``size`` rows, so that its own cuts don't change the result."""
    waiting: list[Float32] = []
    count = 0
    for chunk in chunks():
        start = 0
        while start < len(chunk):
            stop = start + size - count
            waiting.append(chunk[start:stop])
            count += len(waiting[-1])
            start = stop
            if count == size:
                yield waiting[0] if len(waiting) == 1 else np.concatenate(waiting)
                waiting, count = [], 0
    if count:
        yield np.concatenate(waiting)


def _sums(rows: Float32, centroids: Float32) -> tuple[Float64, Float64]:
    """(K, D) sum and (K,) number of the rows that are nearest to each centroid."""
    score, _, _ = float32_scores(rows, centroids)
    label = score.argmin(axis=1)
    count = np.bincount(label, minlength=len(centroids))
    present = np.flatnonzero(count)
    first = np.cumsum(count[present]) - count[present]
    sums = np.zeros(centroids.shape)
    sums[present] = np.add.reduceat(rows[np.argsort(label, kind="stable")], first, axis=0)
    return sums, count.astype(np.float64)
