"""What flows between stages, and how it lies in files: frozen dataclasses and Parquet schemas.

Tables have one row a sample and are joined by ``sample_id``. Row order in a file never changes a result:
``by_sample_id`` sorts every table that is read. N = samples, D = feature dimensions, K = clusters.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Uint8 = NDArray[np.uint8]

CONFIDENCE_SCHEMA = pa.schema(
    [
        ("sample_id", pa.int64()),
        ("temperature", pa.float64()),
        ("count", pa.int64()),
        ("confidence", pa.float64()),
        ("variability", pa.float64()),
        ("variability_draws", pa.float64()),
    ]
)
CLUSTER_SCHEMA = pa.schema([("sample_id", pa.int64()), ("cluster", pa.int32()), ("distance", pa.float32())])
ORDER_SCHEMA = pa.schema(
    [
        ("rank", pa.int64()),
        ("sample_id", pa.int64()),
        ("key", pa.large_string()),
        ("cluster", pa.int32()),
        ("confidence", pa.float64()),
        ("variability", pa.float64()),
    ]
)
LABEL_SCHEMA = pa.schema([("sample_id", pa.int64()), ("label", pa.int32())])
CATALOGUE_SCHEMA = pa.schema(
    [
        ("key", pa.large_string()),
        ("size", pa.int64()),
        ("time", pa.int64()),
        ("sha256", pa.binary(32)),
        ("sample_id", pa.int64()),
        ("reason", pa.large_string()),
    ]
)
"""Of every image that was read. ``size`` is the file's, in bytes; ``time`` of its last change, in ns. ``sha256`` and
``reason``: one of both, the latter why it could not be read. ``sample_id``: null where it is left out."""
REJECTED_COLUMNS = ("key", "reason")
DUPLICATES_COLUMNS = ("key", "duplicate_of")


def pool_folder(name: str) -> str:
    """The store's folder of the pool ``name``; each attempt to ingest it writes to a subfolder (``PoolFiles``)."""
    return f"pools/{name}"


@dataclass(frozen=True, slots=True)
class PoolFiles:
    """Names on the store of all files of a pool. Everybody else asks here."""

    folder: str

    def images(self, split: str) -> str:
        """The folder of a split's Parquet files (``pool_schema``)."""
        return f"{self.folder}/{split}"

    def part(self, split: str, number: int) -> str:
        """One file of ``images``; ``Layout`` says which samples it holds."""
        return f"{self.folder}/{split}/part-{number:05d}.parquet"

    def labels(self, split: str) -> str:
        """Parquet (``LABEL_SCHEMA``); absent where no labels are known. Apart, so that no reader of images sees one."""
        return f"{self.folder}/labels/{split}.parquet"

    @property
    def catalogue(self) -> str:
        """Parquet (``CATALOGUE_SCHEMA``), of folders: what a later look at the folder is compared with."""
        return f"{self.folder}/catalogue.parquet"

    @property
    def rejected(self) -> str:
        """CSV (``REJECTED_COLUMNS``); absent where all images could be read."""
        return f"{self.folder}/rejected.csv"

    @property
    def duplicates(self) -> str:
        """CSV (``DUPLICATES_COLUMNS``); absent where there are none."""
        return f"{self.folder}/duplicates.csv"

    @property
    def staged(self) -> str:
        """The folder of pieces between ingest's two passes; deleted after the second."""
        return f"{self.folder}/staged"

    def piece(self, split: str, number: int) -> str:
        """One file of ``staged``."""
        return f"{self.staged}/{split}-{number:08d}.parquet"


def pool_schema(height: int, width: int, channels: int) -> pa.Schema:
    """Columns of a pool's files. ``image`` is (H, W, C) uint8, row-major, as fixed-size binary."""
    return pa.schema(
        [
            ("sample_id", pa.int64()),
            ("key", pa.string()),
            ("sha256", pa.binary(32)),
            ("image", pa.binary(height * width * channels)),
        ]
    )


def embedding_schema(dimensions: int) -> pa.Schema:
    """Columns of the embeddings' files. ``features`` is (D,) float32 of unit norm."""
    return pa.schema([("sample_id", pa.int64()), ("features", pa.list_(pa.float32(), dimensions))])


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each sample of a pool lies, so that nobody has to open files to find out.

    File n of a split holds the ids from ``n * rows_per_file`` on, ascending, in row groups of ``rows_per_group``.
    The last file, and each file's last row group, may be shorter. A reader looks there first and checks the ids.
    """

    rows_per_file: int
    rows_per_group: int


@dataclass(frozen=True)
class PoolManifest:
    """One ingested pool."""

    name: str
    source: str
    folder: str
    """Of ``files``."""
    size: int
    """Samples in the pool, which is the source's training split: ids 0 .. size-1."""
    height: int
    width: int
    channels: int
    splits: dict[str, int]
    """Samples in each split. "train" is the pool; "val" and "test" serve evaluation only."""
    classes: tuple[str, ...] | None
    """Class names by label number; None where no labels are known."""
    duplicates: int
    """Exact duplicates (equal source bytes) left out of the pool; listed in ``files.duplicates``."""
    rejected: int
    """Images that could not be read; listed in ``files.rejected``."""
    fingerprint: str
    """SHA-256 over the image shape and the sha256 of all samples in id order."""
    layout: Layout | None = None
    """None: samples lie in any file in any order, and the files' footers say which."""

    @property
    def files(self) -> PoolFiles:
        """Where its files are."""
        return PoolFiles(self.folder)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        values = asdict(self)
        values["classes"] = None if self.classes is None else list(self.classes)
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PoolManifest:
        """The inverse of ``to_dict``."""
        classes, layout = values["classes"], values.get("layout")
        parsed = {
            "classes": None if classes is None else tuple(classes),
            "layout": None if layout is None else Layout(**layout),
        }
        return cls(**{**values, **parsed})


@dataclass(frozen=True)
class Encoder:
    """A network with its weights' file and what its input has to be. JSON-ready."""

    kind: Literal["moco", "backbone"]
    """moco: trained in this run. backbone: a frozen, pretrained network."""
    name: str
    """Of the network: torchvision's or timm's."""
    file: str
    """On the store: safetensors."""
    weights: str
    """SHA-256 of the weights."""
    dimensions: int
    """D."""
    licence: str
    """Of the weights."""
    side: int | None = None
    """Of a backbone's square input, in pixels; images of another size are resized. None: images as they are."""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    """(3,) of RGB in 0 .. 1, of a backbone's input."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Encoder:
        """The inverse of ``to_dict``."""
        return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})


@dataclass(frozen=True)
class ConfidenceTable:
    """Confidence and variability (Eq. 3) at one temperature, in ``sample_id`` order.

    Shapes: all (N,). ``variability`` is the standard deviation of epoch means, as in the paper. ``variability_draws``
    is that of single draws, as in the authors' code. Source: docs/method.md, decision 6.
    """

    sample_id: Int64
    temperature: float
    count: Int64
    confidence: Float64
    variability: Float64
    variability_draws: Float64


@dataclass(frozen=True)
class Clustering:
    """K-means of the pool, in ``sample_id`` order.

    Shapes: sample_id, cluster, distance (N,); centroids (K, D). ``distance`` is the Euclidean distance to the
    sample's own centroid. ``backend`` names the implementation that ran.
    """

    sample_id: Int64
    cluster: NDArray[np.int32]
    distance: Float32
    centroids: Float32
    inertia: float
    backend: str
    seed: int

    @property
    def k(self) -> int:
        """Number of clusters."""
        return len(self.centroids)


def by_sample_id(table: pa.Table) -> pa.Table:
    """The table sorted by ``sample_id``."""
    ids = np.asarray(table["sample_id"])
    return table if (ids[1:] > ids[:-1]).all() else table.sort_by("sample_id")


def matching_temperature(wanted: float, have: Iterable[float]) -> float | None:
    """The one of ``have`` that is ``wanted`` up to rounding, or None."""
    return next((each for each in have if math.isclose(each, wanted, rel_tol=1e-9)), None)


def confidence_at(table: pa.Table, temperature: float) -> ConfidenceTable:
    """The rows of one temperature, in ``sample_id`` order.

    Raises:
        ValueError: the table has no such temperature.
    """
    have = np.asarray(table["temperature"])
    known = np.unique(have).tolist()
    if (near := matching_temperature(temperature, known)) is None:
        raise ValueError(f"no confidence at temperature {temperature}; there is {known}")
    part = by_sample_id(table.filter(pa.array(have == near)))
    columns = {name: np.asarray(part[name]) for name in part.column_names if name != "temperature"}
    return ConfidenceTable(temperature=float(temperature), **columns)


def images_of(column: pa.ChunkedArray | pa.Array, height: int, width: int, channels: int) -> Uint8:
    """The ``image`` column as (n, H, W, C) uint8, without one Python object per image."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    size = height * width * channels
    flat = np.frombuffer(array.buffers()[1], np.uint8, count=len(array) * size, offset=array.offset * size)
    return flat.reshape(len(array), height, width, channels)


def image_column(images: Uint8) -> pa.Array:
    """The inverse of ``images_of``: (n, H, W, C) uint8 -> fixed-size binary."""
    buffer = pa.py_buffer(np.ascontiguousarray(images).data)
    return pa.Array.from_buffers(pa.binary(int(np.prod(images.shape[1:]))), len(images), [None, buffer])


def features_of(column: pa.ChunkedArray | pa.Array) -> Float32:
    """The ``features`` column as (n, D) float32."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return np.asarray(array.flatten(), np.float32).reshape(len(array), -1)


def fingerprint(*parts: bytes | str) -> str:
    """SHA-256 (hex) over the parts, each preceded by its length, so that parts cannot be confused when joined."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()
