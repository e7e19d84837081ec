"""The space in which images are compared: principal components of the features, centred, of unit norm again.

A pretrained network's features share a large mean, and most of their dimensions are noise for any one pool. Without
both, distances say more about the pool (docs/results.md). N = samples, D = dimensions, d = components.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.artifacts import Float32, Float64
from pipeline.cluster.assignment import BLOCK_ROWS, Chunks, in_order
from pipeline.cluster.lloyd import batches


@dataclass(frozen=True)
class Space:
    """A mean and directions. Shapes: mean (D,), directions (D, d)."""

    mean: Float32
    directions: Float32
    explained: float
    """Share of the variance that lies in the directions."""

    def __call__(self, features: Float32) -> Float32:
        """(n, D) -> (n, d) of unit norm. A row at the mean has no direction and stays zero."""
        with threadpool_limits(limits=1):
            moved = (features - self.mean) @ self.directions
        length = np.linalg.norm(moved, axis=1, keepdims=True)
        return np.divide(moved, length, out=np.zeros_like(moved), where=length > 0)

    def to_bytes(self) -> bytes:
        """Safetensors."""
        from safetensors.numpy import save

        return save({"mean": self.mean, "directions": self.directions, "explained": np.array([self.explained])})

    @classmethod
    def from_bytes(cls, data: bytes) -> Space:
        """The inverse of ``to_bytes``."""
        from safetensors.numpy import load

        found = load(data)
        return cls(found["mean"], found["directions"], float(found["explained"][0]))


def principal_components(chunks: Chunks, most: int) -> Space:
    """The space of the largest principal components: ``most``, or fewer where N - 1 or D is smaller.

    Two passes over the features, in blocks whose sums are added in their order: the chunks' sizes and the number of
    cores do not change the result.

    Args:
        chunks: called once a pass, gives (n, D) float32 chunks in ``sample_id`` order.
    """
    # One limit around all threads: it is the process's.
    with threadpool_limits(limits=1):
        count, total = 0, np.zeros(1)
        for block in batches(chunks, BLOCK_ROWS):
            count, total = count + len(block), total + block.sum(axis=0, dtype=np.float64)
        mean = (total / count).astype(np.float32)
        covariance = np.zeros((len(mean), len(mean)))
        for part in in_order(partial(_scatter, mean=mean), batches(chunks, BLOCK_ROWS)):
            covariance += part
        variance, directions = np.linalg.eigh(covariance)
    kept = slice(None, -min(most, len(mean), max(1, count - 1)) - 1, -1)
    largest = directions[:, kept]
    # Either sign is right; this one does not depend on the library.
    largest = largest * np.sign(largest[np.abs(largest).argmax(axis=0), np.arange(largest.shape[1])])
    explained = float(variance[kept].sum() / max(variance.sum(), np.finfo(np.float64).tiny))
    return Space(mean, np.ascontiguousarray(largest, np.float32), explained)


def _scatter(block: Float32, mean: Float32) -> Float64:
    centred = block - mean
    return np.asarray(centred.T @ centred, np.float64)
