"""Distances as matrix products, and the landmarks that stand for a large pool where all pairs would be needed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.artifacts import Float32, Int64

LANDMARKS = 20_000
"""A coverage of a larger pool is estimated on this many of its samples."""
BLOCK_ROWS = 1024


def squared_distances(rows: Float32, points: Float32) -> Float32:
    """(n, L) squared Euclidean distances between rows (n, D) and points (L, D), to float32's rounding of |x|^2."""
    squared: Float32 = rows @ points.T
    squared *= -2
    squared += np.einsum("ld,ld->l", points, points)
    squared += np.einsum("nd,nd->n", rows, rows)[:, None]
    return np.maximum(squared, 0, out=squared)


def landmarks(n: int, seed: int, most: int) -> Int64:
    """Ascending row numbers: all ``n``, or ``most`` of them drawn without replacement."""
    return np.arange(n) if n <= most else np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def blocks(n: int, rows: int = BLOCK_ROWS) -> Iterator[slice]:
    """Slices that cut ``n`` rows into blocks of ``rows``."""
    for start in range(0, n, rows):
        yield slice(start, min(start + rows, n))
