"""Reading a pool by sample id. Where samples lie, its manifest says or else its files do; no result depends on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.artifacts import Int64, Layout, PoolFiles, PoolManifest, Uint8, by_sample_id, images_of
from pipeline.storage import Location

_READERS = 8
_FEW = 64
"""Ids of fewer than one in so many samples are sorted; of more, a look at every sample of the pool is less work."""


@dataclass(frozen=True, slots=True)
class RowGroup:
    """The least of a pool that can be read, and the range of its ids."""

    file: str
    number: int
    lowest: int
    highest: int


class _Index(Protocol):
    """The row groups of a split, found by id."""

    def holding(self, wanted: Int64) -> list[RowGroup]:
        """Those whose range holds one of ``wanted`` (n,), which ascend and may repeat; ascending."""


@dataclass(frozen=True)
class _Stated:
    """By arithmetic: nothing is read and nothing held, however large the pool."""

    files: PoolFiles
    split: str
    size: int
    layout: Layout

    def holding(self, wanted: Int64) -> list[RowGroup]:
        """As ``_Index`` has it."""
        rows, group = self.layout.rows_per_file, self.layout.rows_per_group
        lowest = wanted - wanted % rows % group
        found = lowest[np.flatnonzero(np.diff(lowest, prepend=-1))]
        files = found // rows
        ends = np.minimum(np.minimum(found + group, (files + 1) * rows), self.size)
        return [
            RowGroup(self.files.part(self.split, file), number, first, end - 1)
            for file, number, first, end in zip(
                files.tolist(), (found % rows // group).tolist(), found.tolist(), ends.tolist(), strict=True
            )
        ]


class _Found:
    """By what the files' footers say: in any order, found by id without a look at every row group."""

    def __init__(self, groups: list[RowGroup]) -> None:
        self._groups = sorted(groups, key=lambda group: group.lowest)
        self._lowest = np.array([group.lowest for group in self._groups], np.int64)
        self._highest = np.array([group.highest for group in self._groups], np.int64)
        self._highest_so_far = np.maximum.accumulate(self._highest)

    def holding(self, wanted: Int64) -> list[RowGroup]:
        """As ``_Index`` has it."""
        if not len(wanted):
            return []
        first = int(np.searchsorted(self._highest_so_far, wanted[0]))
        near = slice(first, int(np.searchsorted(self._lowest, wanted[-1], side="right")))
        before = np.searchsorted(wanted, self._lowest[near])
        upto = np.searchsorted(wanted, self._highest[near], side="right")
        return [self._groups[first + place] for place in np.flatnonzero(before < upto)]


@dataclass(frozen=True)
class PoolReader:
    """Images, keys and labels of one pool. Picklable. N = samples of the split, n = samples asked for."""

    store: Location
    manifest: PoolManifest

    def images(self, ids: Int64, split: str = "train", groups: Sequence[RowGroup] | None = None) -> Uint8:
        """(n, H, W, C) of the samples ``ids`` (n,), in that order, repeats allowed.

        Reads only row groups that hold one of them, one at a time.

        Args:
            groups: what ``row_groups_with`` says of the ids, for who was sent it: to find it out anew may be to open
                every file of the pool.

        Raises:
            ValueError: an id that the split does not have.
        """
        wanted, place = self._wanted(ids, split)
        images = np.empty((len(wanted), *self._shape), np.uint8)
        for at, rows, table in self._rows(wanted, split, "image", groups):
            images[at] = images_of(table["image"], *self._shape)[rows]
        return images if _is_identity(place) else images[place]

    def row_groups(self, split: str = "train") -> Iterator[tuple[Int64, Uint8]]:
        """Every sample of the split once, as they lie in the files: (ids (m,), images (m, H, W, C))."""
        ids = np.arange(self.manifest.splits[split])
        for at, rows, table in self._rows(ids, split, "image"):
            yield at, images_of(table["image"], *self._shape)[rows]

    def row_groups_with(self, ids: Int64, split: str = "train") -> list[RowGroup]:
        """Where the samples ``ids`` (n,) lie. Without a layout, the first call opens every file of the split."""
        # Sorted, not made distinct: that goes through a hash table, which takes ten times as long at a million ids.
        return self._index(split).holding(np.sort(ids))

    def keys(self, ids: Int64, split: str = "train") -> pa.ChunkedArray:
        """The keys (n,) of the samples ``ids`` (n,), in that order, as Arrow has them: no Python object a sample.

        Raises:
            ValueError: an id that the split does not have.
        """
        wanted, place = self._wanted(ids, split)
        found = [
            (at, table["key"] if len(rows) == len(table) else table["key"].take(pa.array(rows)))
            for at, rows, table in self._rows(wanted, split, "key")
        ]
        row_of = np.empty(len(wanted), np.int64)
        row_of[np.concatenate([np.empty(0, np.int64), *(at for at, _ in found)])] = np.arange(len(wanted))
        # Large: a take puts all chunks together, and 32-bit offsets end at 2 GiB of keys, those of 100 million samples.
        large = [chunk.cast(pa.large_string()) for _, column in found for chunk in column.chunks]
        keys = pa.chunked_array(large, pa.large_string())
        return keys.take(pa.array(row_of[place]))

    def labels(self, split: str = "train") -> NDArray[np.int32] | None:
        """(N,) label numbers in id order, -1 where there is none; None where the pool has no labels at all."""
        name = self.manifest.files.labels(split)
        if not self.store.exists(name):
            return None
        return np.asarray(by_sample_id(self.store.read_table(name))["label"], np.int32)

    def digests(self, split: str = "train") -> list[bytes]:
        """The SHA-256 (N,) of every sample's source bytes, in id order."""
        table = self.store.read_table(self.manifest.files.images(split), columns=["sample_id", "sha256"])
        digests: list[bytes] = by_sample_id(table)["sha256"].to_pylist()
        return digests

    @property
    def _shape(self) -> tuple[int, int, int]:
        return (self.manifest.height, self.manifest.width, self.manifest.channels)

    def _wanted(self, ids: Int64, split: str) -> tuple[Int64, Int64]:
        """(distinct ids, ascending; place of each of ``ids`` among them)."""
        size = self.manifest.splits[split]
        ids = np.asarray(ids, np.int64)
        if len(ids) and not 0 <= ids.min() <= ids.max() < size:
            raise ValueError(f"split '{split}' has ids 0 .. {size - 1}, asked for {ids.min()} .. {ids.max()}")
        if len(ids) < size // _FEW:
            wanted, place = np.unique(ids, return_inverse=True)
            return wanted, place
        there = np.zeros(size, bool)
        there[ids] = True
        return np.flatnonzero(there), np.cumsum(there)[ids] - 1

    def _rows(
        self, wanted: Int64, split: str, column: str, groups: Sequence[RowGroup] | None = None
    ) -> Iterator[tuple[Int64, Int64, pa.Table]]:
        """Piece by piece: (places among ``wanted``, the rows that go there, the piece's table).

        A piece is a row group; of keys, which are small, all that is wanted of a file.
        """
        if groups is None:
            groups = self._index(split).holding(wanted)
        missing = np.ones(len(wanted), bool)
        for file, of_file in groupby(groups, lambda group: group.file):
            opened = self._open(file)
            numbers = [group.number for group in of_file if group.number < opened.num_row_groups]
            for piece in [numbers] if column == "key" else [[number] for number in numbers]:
                table = opened.read_row_groups(piece, columns=["sample_id", column])
                ids = np.asarray(table["sample_id"])
                at = np.searchsorted(wanted, ids)
                rows = np.flatnonzero((at < len(wanted)) & (wanted[np.minimum(at, len(wanted) - 1)] == ids))
                missing[at[rows]] = False
                yield at[rows], rows, table
        rest = np.flatnonzero(missing)
        if len(rest):
            assert self.manifest.layout is not None, f"{len(rest)} samples are not in {self.manifest.folder}"
            # Somebody has written its files anew: what their footers say counts.
            for at, rows, table in self._by_footers._rows(wanted[rest], split, column):
                yield rest[at], rows, table

    def _index(self, split: str) -> _Index:
        files, layout = self.manifest.files, self.manifest.layout
        if layout is not None:
            return _Stated(files, split, self.manifest.splits[split], layout)
        if split not in self._known:
            folder = files.images(split)
            paths = [f"{folder}/{name}" for name, _, _ in self.store.files(folder) if name.endswith(".parquet")]
            with ThreadPoolExecutor(_READERS) as readers:
                self._known[split] = _Found(
                    [group for groups in readers.map(self._groups_of, paths) for group in groups]
                )
        return self._known[split]

    @cached_property
    def _known(self) -> dict[str, _Found]:
        return {}

    @cached_property
    def _by_footers(self) -> PoolReader:
        return PoolReader(self.store, replace(self.manifest, layout=None))

    def _groups_of(self, file: str) -> list[RowGroup]:
        """The id range of each row group, from the file's statistics; unknown ranges are all ids."""
        metadata = self._open(file).metadata
        column = metadata.schema.names.index("sample_id")
        groups = []
        for number in range(metadata.num_row_groups):
            statistics = metadata.row_group(number).column(column).statistics
            known = statistics is not None and statistics.has_min_max
            lowest, highest = (statistics.min, statistics.max) if known else (0, np.iinfo(np.int64).max)
            groups.append(RowGroup(file, number, lowest, highest))
        return groups

    def _open(self, file: str) -> pq.ParquetFile:
        return pq.ParquetFile(self.store.path(file), filesystem=self.store.filesystem)


def _is_identity(place: Int64) -> bool:
    return bool((place == np.arange(len(place))).all())
