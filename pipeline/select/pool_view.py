"""All that a strategy may see of a pool. There are no labels in it, and no way to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Float32, Float64, Int64


@dataclass(frozen=True)
class PoolView:
    """One row a sample, in any order; columns that are not known are None.

    Shapes: all (N,). ``distance`` is Euclidean, to the sample's own centroid. ``confidence`` and
    ``variability`` (Eq. 3, at one temperature) are NaN for a sample that training never drew.

    Raises:
        ValueError: columns of different lengths, an id given twice, or a cluster outside 0 .. k-1.
    """

    sample_id: Int64
    cluster: NDArray[np.int32] | None = None
    distance: Float32 | None = None
    confidence: Float64 | None = None
    variability: Float64 | None = None
    k: int = 0
    """Number of clusters; 0 where there are none."""

    def __post_init__(self) -> None:
        n = len(self.sample_id)
        for name in ("cluster", "distance", "confidence", "variability"):
            column = getattr(self, name)
            if column is not None and column.shape != (n,):
                raise ValueError(f"{name} has shape {column.shape}, sample_id ({n},)")
        ids = np.sort(self.sample_id)  # np.unique takes a hundred times as long at a million rows
        repeated = int((ids[1:] == ids[:-1]).sum())
        if repeated:
            raise ValueError(f"{n} rows have only {n - repeated} distinct sample ids")
        if self.cluster is not None and n and not 0 <= self.cluster.min() <= self.cluster.max() < self.k:
            raise ValueError(f"clusters {self.cluster.min()} to {self.cluster.max()} are not within 0 to {self.k - 1}")

    def by_sample_id(self) -> PoolView:
        """The same view with its rows in ascending order of ``sample_id``."""
        rows = np.argsort(self.sample_id)
        columns: dict[str, Any] = {"sample_id": self.sample_id[rows]}
        for name in ("cluster", "distance", "confidence", "variability"):
            column = getattr(self, name)
            if column is not None:
                columns[name] = column[rows]
        return replace(self, **columns)
