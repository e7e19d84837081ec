"""All that a strategy may see of a pool: no class labels, and no way to reach them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Float32, Float64, Int64
from pipeline.cluster import KMeansResult

_SHAPES = {"features": "ND", "probabilities": "NC", "probability_draws": "TNC", "probability_views": "VNC"}
"""Axes of the columns that are not (N,)."""


@dataclass(frozen=True)
class PoolView:
    """One row a sample, in any order; columns that are not known are None.

    Shapes: all (N,) where nothing else is said. N = samples, D = feature dimensions, C = classes, T = draws,
    V = views. Distances are Euclidean, to the sample's own centroid.

    Raises:
        ValueError: columns that do not fit each other, features that are not float32, an id given twice,
            ``labelled`` that is not bool, or a cluster outside 0 .. k-1.
    """

    sample_id: Int64
    cluster: NDArray[np.int32] | None = None
    distance: Float32 | None = None
    confidence: Float64 | None = None
    """Eq. 3, at one temperature; NaN for a sample that training never drew."""
    variability: Float64 | None = None
    """Eq. 3, likewise."""
    k: int = 0
    """Number of clusters; 0 where there are none."""
    features: Float32 | None = None
    """Unit norm."""
    probabilities: NDArray[np.floating] | None = None
    """A scorer's mean predicted class probabilities."""
    probability_draws: NDArray[np.floating] | None = None
    """Of T passes of the scorer with dropout."""
    probability_views: NDArray[np.floating] | None = None
    """For V augmented copies of each image."""
    labelled_score: NDArray[np.floating] | None = None
    """How surely VAAL's discriminator takes the sample for a labelled one, 0 to 1."""
    learnability: NDArray[np.floating] | None = None
    """Mean probability of the true class over a supervised training: a strategy that uses it has seen labels."""
    learnability_variability: NDArray[np.floating] | None = None
    """Its standard deviation over the epochs."""
    pixel_cluster: NDArray[np.int32] | None = None
    """K-means on the raw pixels."""
    pixel_distance: Float32 | None = None
    pixel_k: int = 0
    fresh_clusters: Callable[[int, int], KMeansResult] | None = None
    """(K, seed) -> a stored K-means of the features, rows in ``sample_id`` order; none: strategies make their own."""
    labelled: NDArray[np.bool_] | None = None
    """Labelled already: never chosen again, though a strategy may use their positions. None: no sample is."""

    def __post_init__(self) -> None:
        n = len(self.sample_id)
        sizes = {"N": n}
        for name, shape, column in self._columns():
            if column.ndim != len(shape) or any(
                sizes.setdefault(axis, size) != size for axis, size in zip(shape, column.shape, strict=True)
            ):
                wanted = ", ".join(str(sizes.get(axis, axis)) for axis in shape)
                raise ValueError(f"{name} has shape {column.shape}, not ({wanted})")
        if self.features is not None and self.features.dtype != np.float32:
            raise ValueError(f"features are float32, not {self.features.dtype}")
        if self.labelled is not None and self.labelled.dtype != np.bool_:
            raise ValueError(f"labelled is bool, not {self.labelled.dtype}")
        if not self._in_order:
            ids = np.sort(self.sample_id)  # np.unique takes a hundred times as long at a million rows
            if repeated := int((ids[1:] == ids[:-1]).sum()):
                raise ValueError(f"{n} rows have only {n - repeated} distinct sample ids")
        for cluster, k in ((self.cluster, self.k), (self.pixel_cluster, self.pixel_k)):
            if cluster is not None and n and not 0 <= cluster.min() <= cluster.max() < k:
                raise ValueError(f"clusters {cluster.min()} to {cluster.max()} are not within 0 to {k - 1}")

    @property
    def labelled_rows(self) -> Int64:
        """Row numbers of the samples that are labelled already."""
        return np.empty(0, np.int64) if self.labelled is None else np.flatnonzero(self.labelled)

    @property
    def unlabelled_rows(self) -> Int64:
        """Row numbers of the samples that a strategy may choose."""
        return np.arange(len(self.sample_id)) if self.labelled is None else np.flatnonzero(~self.labelled)

    def take(self, rows: Int64) -> PoolView:
        """The view of some samples, in the order of ``rows``, without the stored clusterings of all samples."""
        taken: dict[str, Any] = {
            name: column.take(rows, axis=shape.index("N")) for name, shape, column in self._columns()
        }
        return replace(self, fresh_clusters=None, **taken)

    def by_sample_id(self) -> PoolView:
        """The same view with its rows in ascending order of ``sample_id``."""
        if self._in_order:
            return self
        return replace(self.take(np.argsort(self.sample_id)), fresh_clusters=self.fresh_clusters)

    @property
    def _in_order(self) -> bool:
        """Whether every id is larger than the one before."""
        return bool((self.sample_id[1:] > self.sample_id[:-1]).all())

    def _columns(self) -> Iterator[tuple[str, str, NDArray[Any]]]:
        """Name, axes and values of every column that is known."""
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, np.ndarray):
                yield each.name, _SHAPES.get(each.name, "N"), value


COLUMNS = tuple(
    each.name
    for each in fields(PoolView)
    if each.name not in ("sample_id", "labelled", "k", "pixel_k", "fresh_clusters")
)
"""What a strategy may need. Of the other fields every pool has some, and the rest only save time."""
