"""Lloyd's passes over rows that need not be in memory, on all cores, with the same result on any number of them.

scikit-learn's own copies all rows, and on several threads adds up in an order of its own. Here rows come in blocks
of one size, each block's sums follow from the block alone, and are added in the blocks' order.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from scipy.sparse import csc_matrix

from pipeline.artifacts import Float32, Float64
from pipeline.cluster.assignment import BLOCK_ROWS, Chunks, float32_scores, in_order


def lloyd(chunks: Chunks, centroids: Float32, passes: int, least: float) -> Float32:
    """Centroids (K, D) after some passes; one without rows stays where it is.

    Args:
        passes: at most.
        least: stop when the pass before has lowered the inertia by this share of it or less.
    """
    before = np.inf
    for _ in range(passes):
        total, count, inertia = np.zeros(centroids.shape), np.zeros(len(centroids)), 0.0
        for (sums, rows), distances in in_order(partial(_sums, centroids=centroids), batches(chunks, BLOCK_ROWS)):
            total += sums
            count += rows
            inertia += distances
        centroids = np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], centroids).astype(np.float32)
        if before - inertia <= least * inertia:
            break
        before = inertia
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


def _sums(rows: Float32, centroids: Float32) -> tuple[tuple[Float64, Float64], float]:
    """(K, D) sum and (K,) number of the rows that are nearest to each centroid; the squares of their distances."""
    score, near, _ = float32_scores(rows, centroids)
    label = score.argmin(axis=1)
    # A column for each row, with a one at its centroid.
    ones = np.ones(len(rows), np.float32)
    members = csc_matrix((ones, label, np.arange(len(rows) + 1)), shape=(len(centroids), len(rows)))
    count = np.bincount(label, minlength=len(centroids)).astype(np.float64)
    lowest = score[np.arange(len(rows)), label].sum(dtype=np.float64)
    return ((members @ rows).astype(np.float64), count), float(2 * lowest + np.einsum("nd,nd->", near, near))
