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
from pipeline.cluster.assignment import BLOCK_ROWS, Chunks, Compared, in_order
from pipeline.progress import tell


def lloyd(chunks: Chunks, centroids: Float32, passes: int, least: float, fixed: int = 0) -> Float32:
    """Centroids (K, D) after some passes; one without rows stays where it is.

    Args:
        passes: at most.
        least: stop when the pass before has lowered the inertia by this share of it or less.
        fixed: the first so many centroids do not move; they take the rows that are nearest to them.
    """
    # One point for all passes: |x - m|^2 of all rows is the same in all of them, and summed in the first.
    middle = Compared.of(centroids).middle
    spread, before, still = 0.0, np.inf, centroids[:fixed].copy()
    for number in range(passes):
        sums_of = partial(_sums, compared=Compared.of(centroids, middle), first=number == 0)
        total, count, lowest = np.zeros(centroids.shape), np.zeros(len(centroids)), 0.0
        for (sums, rows), least_of_block, apart in in_order(sums_of, batches(chunks, BLOCK_ROWS)):
            total += sums
            count += rows
            lowest += least_of_block
            spread += apart
        tell(number + 1, passes)
        inertia = spread + 2 * lowest
        centroids = np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], centroids).astype(np.float32)
        centroids[:fixed] = still
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


def _sums(rows: Float32, compared: Compared, first: bool) -> tuple[tuple[Float64, Float64], float, float]:
    """(K, D) sum and (K,) number of the rows that are nearest to each centroid; the sum of their scores.

    Args:
        first: give the sum of |x - m|^2 too, else 0.
    """
    score = compared.scores(rows)
    label = score.argmin(axis=1)
    lowest = score[np.arange(len(rows)), label].sum(dtype=np.float64)
    # A column for each row, with a one at its centroid.
    ones, k = np.ones(len(rows), np.float32), len(compared.half)
    members = csc_matrix((ones, label, np.arange(len(rows) + 1)), shape=(k, len(rows)))
    count = np.bincount(label, minlength=k).astype(np.float64)
    apart = 0.0
    if first:
        gap = rows - compared.middle
        apart = float(np.einsum("nd,nd->", gap, gap))
    return ((members @ rows).astype(np.float64), count), float(lowest), apart
