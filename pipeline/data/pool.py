"""Reading a pool by sample id. Row order in its files, and of its files, is of no consequence."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.artifacts import Int64, PoolManifest, Uint8, by_sample_id, images_of
from pipeline.storage import Location

_READERS = 8


@dataclass(frozen=True)
class _RowGroup:
    file: str
    number: int
    lowest: int
    highest: int


@dataclass(frozen=True)
class PoolReader:
    """Images, keys and labels of one pool. Picklable. N = samples of the split, n = samples asked for."""

    store: Location
    manifest: PoolManifest

    def images(self, ids: Int64, split: str = "train") -> Uint8:
        """(n, H, W, C) of the samples ``ids`` (n,), in that order, repeats allowed.

        Reads only row groups that hold one of them, one at a time.

        Raises:
            ValueError: an id that the split does not have.
        """
        wanted, place = self._wanted(ids, split)
        images = np.empty((len(wanted), *self._shape), np.uint8)
        for at, rows, table in self._rows(wanted, split, "image"):
            images[at] = images_of(table["image"], *self._shape)[rows]
        return images if _is_identity(place) else images[place]

    def row_groups(self, split: str = "train") -> Iterator[tuple[Int64, Uint8]]:
        """Every sample of the split once, as they lie in the files: (ids (m,), images (m, H, W, C))."""
        for ids, rows, table in self._rows(np.arange(self.manifest.splits[split]), split, "image"):
            yield ids, images_of(table["image"], *self._shape)[rows]

    def keys(self, ids: Int64, split: str = "train") -> pa.ChunkedArray:
        """The keys (n,) of the samples ``ids`` (n,), in that order, as Arrow has them: no Python object a sample.

        Raises:
            ValueError: an id that the split does not have.
        """
        wanted, place = self._wanted(ids, split)
        found = [(at, table["key"].take(pa.array(rows))) for at, rows, table in self._rows(wanted, split, "key")]
        row_of = np.empty(len(wanted), np.int64)
        row_of[np.concatenate([np.empty(0, np.int64), *(at for at, _ in found)])] = np.arange(len(wanted))
        keys = pa.chunked_array([chunk for _, column in found for chunk in column.chunks], pa.string())
        return keys.take(pa.array(row_of[place]))

    def labels(self, split: str = "train") -> NDArray[np.int32] | None:
        """(N,) label numbers in id order, -1 where there is none; None where the pool has no labels at all."""
        name = f"{self.manifest.folder}/labels/{split}.parquet"
        if not self.store.exists(name):
            return None
        return np.asarray(by_sample_id(self.store.read_table(name))["label"], np.int32)

    @property
    def _shape(self) -> tuple[int, int, int]:
        return (self.manifest.height, self.manifest.width, self.manifest.channels)

    def _wanted(self, ids: Int64, split: str) -> tuple[Int64, Int64]:
        """(distinct ids, ascending; place of each of ``ids`` among them)."""
        size = self.manifest.splits[split]
        ids = np.asarray(ids, np.int64)
        if len(ids) and not 0 <= ids.min() <= ids.max() < size:
            raise ValueError(f"split '{split}' has ids 0 .. {size - 1}, asked for {ids.min()} .. {ids.max()}")
        wanted, place = np.unique(ids, return_inverse=True)
        return wanted, place

    def _rows(self, wanted: Int64, split: str, column: str) -> Iterator[tuple[Int64, Int64, pa.Table]]:
        """Row group by row group: (places among ``wanted``, the rows that go there, the group's table)."""
        found = 0
        opened: tuple[str, pq.ParquetFile] | None = None
        for group in self._row_groups(split):
            if not np.searchsorted(wanted, group.lowest) < np.searchsorted(wanted, group.highest, side="right"):
                continue
            if opened is None or opened[0] != group.file:
                opened = (group.file, self._open(group.file))
            table = opened[1].read_row_group(group.number, columns=["sample_id", column])
            ids = np.asarray(table["sample_id"])
            at = np.searchsorted(wanted, ids)
            rows = np.flatnonzero((at < len(wanted)) & (wanted[np.minimum(at, len(wanted) - 1)] == ids))
            found += len(rows)
            yield at[rows], rows, table
        assert found == len(wanted), f"{found} of {len(wanted)} samples are in {self.manifest.folder}/{split}"

    def _row_groups(self, split: str) -> list[_RowGroup]:
        if split not in self._known:
            names = [name for name, _, _ in self.store.files(f"{self.manifest.folder}/{split}")]
            paths = [f"{self.manifest.folder}/{split}/{name}" for name in names if name.endswith(".parquet")]
            with ThreadPoolExecutor(_READERS) as readers:
                self._known[split] = [group for groups in readers.map(self._groups_of, paths) for group in groups]
        return self._known[split]

    @cached_property
    def _known(self) -> dict[str, list[_RowGroup]]:
        return {}

    def _groups_of(self, file: str) -> list[_RowGroup]:
        """The id range of each row group, from the file's statistics; unknown ranges are all ids."""
        metadata = self._open(file).metadata
        column = metadata.schema.names.index("sample_id")
        groups = []
        for number in range(metadata.num_row_groups):
            statistics = metadata.row_group(number).column(column).statistics
            known = statistics is not None and statistics.has_min_max
            lowest, highest = (statistics.min, statistics.max) if known else (0, np.iinfo(np.int64).max)
            groups.append(_RowGroup(file, number, lowest, highest))
        return groups

    def _open(self, file: str) -> pq.ParquetFile:
        return pq.ParquetFile(self.store.path(file), filesystem=self.store.filesystem)


def _is_identity(place: Int64) -> bool:
    return bool((place == np.arange(len(place))).all())
