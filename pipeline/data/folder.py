"""Folders of image files, local or on S3: listing and reading."""

from __future__ import annotations

import hashlib
import posixpath
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.ahead import map_ahead
from pipeline.artifacts import Int64
from pipeline.data.decode import SUFFIXES, UnreadableImageError, decode, is_grey
from pipeline.data.sources import Decoded, Shape
from pipeline.errors import InputError
from pipeline.progress import counted
from pipeline.storage import Location

UNREAD = frozenset({".dcm", ".dicom", ".nii", ".gz", ".webp", ".gif", ".jp2", ".heic", ".svs", ".zip", ".csv", ".txt"})
"""Suffixes that the log may name when it counts files that are no images. Text after any other dot may be part of a
patient's identifier, which belongs in no log."""
_BATCH = 65_536
_GREY_SAMPLE = 64
_SIGHT_SAMPLE = 8
_READERS = 8
_READ_AHEAD_BYTES = 64 << 20
_LARGEST_PIXEL = 8
"""Bytes of the widest pixel (RGBA, 16 bits a channel)."""


@dataclass(frozen=True)
class FolderSource:
    """Image files below a folder. The key is the path relative to the folder, with forward slashes."""

    location: Location
    listing: pa.Table
    """Columns key (sorted), size (bytes)."""
    state: str
    size: int
    channels: int | None
    """1 or 3. None: 1 if all of 64 files, spread over the folder, are grey, else 3."""
    max_pixels: int
    label_numbers: NDArray[np.int32] | None = None
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def splits(self) -> dict[str, int]:
        """All images are the pool; a folder has no other splits."""
        return {"train": self.listing.num_rows}

    def shape(self) -> Shape:
        """(H, W, C) of the pool; reads some files where ``channels`` is None."""
        return (self.size, self.size, self.channels or (1 if self._sample_is_grey() else 3))

    def labels(self, split: str) -> NDArray[np.int32] | None:
        """(n,) label numbers by position."""
        return self.label_numbers

    def keys(self, split: str, positions: Int64) -> list[str]:
        """The relative paths."""
        return [str(key) for key in self.listing["key"].take(pa.array(positions)).to_pylist()]

    def pieces(self, split: str, rows: int) -> list[tuple[int, int]]:
        """Ranges of ``rows`` files."""
        total = self.listing.num_rows
        return [(start, min(start + rows, total)) for start in range(0, total, rows)]

    def read(self, split: str, start: int, stop: int, rows: int, shape: Shape) -> Iterator[Decoded]:
        """The images of a range of files. Unusable files are listed as rejected, with the reason."""
        for first in range(start, stop, rows):
            yield self._read(np.arange(first, min(first + rows, stop)), shape)

    def _read(self, positions: Int64, shape: Shape) -> Decoded:
        images = np.empty((len(positions), *shape), np.uint8)
        done = Decoded(positions, [], [], images)
        kept: list[int] = []
        for position, key, data in self._files(positions):
            try:
                if isinstance(data, UnreadableImageError):
                    raise data
                images[len(kept)] = decode(data, self.size, shape[2], self.max_pixels)
            except UnreadableImageError as reason:
                done.rejected.append((position, str(reason)))
                continue
            kept.append(position)
            done.key.append(key)
            done.sha256.append(hashlib.sha256(data).digest())
        return Decoded(np.asarray(kept, np.int64), done.key, done.sha256, images[: len(kept)], done.rejected)

    def _files(self, positions: Int64) -> Iterator[tuple[int, str, bytes | UnreadableImageError]]:
        """(position, key, content) in order. Threads read ahead a bounded number of files and bytes."""
        rows = self.listing.take(pa.array(positions))
        todo = zip(positions.tolist(), rows["key"].to_pylist(), rows["size"].to_pylist(), strict=True)
        return map_ahead(
            lambda file: (*file[:2], self._content(*file[1:])),
            todo,
            threads=_READERS,
            ahead=2 * _READERS - 1,
            size=lambda file: file[2],
            most=_READ_AHEAD_BYTES,
        )

    def _content(self, key: str, size: int) -> bytes | UnreadableImageError:
        """The file's bytes, or why this one file is unusable. Other errors, as of the network, end the job."""
        if size > self.max_pixels * _LARGEST_PIXEL:
            return UnreadableImageError(
                f"{size} bytes are more than any image of ingest.max_pixels = {self.max_pixels}"
            )
        try:
            return self.location.read_bytes(key)
        except FileNotFoundError:
            self._check_sight()
            return UnreadableImageError("the file has gone since it was listed")
        except PermissionError:
            return UnreadableImageError("may not be read (permission denied)")
        except pa.ArrowInvalid as error:
            return UnreadableImageError(f"its name cannot be used: {error}")

    def _check_sight(self) -> None:
        """Raise InputError where this machine sees none of some files: the folder may not be mounted here."""
        keys = self.keys("train", self._spread(_SIGHT_SAMPLE))
        if not any(self.location.is_file(key) for key in keys):
            raise InputError(
                f"'{self.location.uri}' was listed with {counted(self.listing.num_rows, 'image')}, and on the machine "
                f"'{socket.gethostname()}' they are not there; mount it on every node, then start the job again."
            )

    def _spread(self, count: int) -> Int64:
        """Positions of ``count`` files, evenly spread over the listing."""
        total = self.listing.num_rows
        return np.unique(np.linspace(0, total - 1, min(total, count)).astype(np.int64))

    def _sample_is_grey(self) -> bool:
        readable = False
        for _, _, data in self._files(self._spread(_GREY_SAMPLE)):
            try:
                if isinstance(data, bytes) and not is_grey(data, self.max_pixels):
                    return False
                readable = readable or isinstance(data, bytes)
            except UnreadableImageError:
                continue
        return readable


def list_images(location: Location) -> tuple[pa.Table, str, Counter[str]]:
    """All image files below ``location``.

    Memory: about 140 bytes a file at the peak with keys of 22 letters, of which the table keeps 38.

    Returns:
        A table with columns key (sorted) and size; a hash of keys, sizes and modification times; how many other files
        there are, by suffix for those in ``UNREAD`` and else under "other".

    Raises:
        InputError: a file name is not UTF-8, ``location`` is a file, or a folder may not be read.
    """
    batches, rows = [], []
    others: Counter[str] = Counter()
    try:
        for row in location.walk():
            if row[0].lower().endswith(SUFFIXES):
                rows.append(row)
            else:
                suffix = posixpath.splitext(row[0])[1].lower()
                others[suffix if suffix in UNREAD else "other"] += 1
            if len(rows) == _BATCH:
                batches.append(_record_batch(rows))
                rows = []
        batches.append(_record_batch(rows))
    except NotADirectoryError:
        raise InputError(f"'{location.uri}' is a file; folder:PATH takes the folder that it lies in.") from None
    except PermissionError as error:
        raise InputError(f"'{error.filename}' may not be read; mend its permissions.") from None
    # In one chunk, because ``take`` from several would concatenate all of them first.
    table = pa.Table.from_batches(batches).sort_by("key").combine_chunks()
    digest = hashlib.sha256()
    for batch in table.to_batches(max_chunksize=_BATCH):
        for key, size, time in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            digest.update(f"{key}\0{size}\0{time}\n".encode())
    return table.select(["key", "size"]), digest.hexdigest()[:16], others


def _record_batch(rows: list[tuple[str, int, int]]) -> pa.RecordBatch:
    try:
        # Large strings: sorting concatenates all keys, and 32-bit offsets end at 2 GiB.
        kinds = (pa.large_string(), pa.int64(), pa.int64())
        arrays = [pa.array([row[i] for row in rows], kind) for i, kind in enumerate(kinds)]
    except UnicodeEncodeError as error:
        raise InputError(f"The file name {error.object!a} is not in UTF-8; rename it.") from None
    return pa.record_batch(arrays, names=["key", "size", "time"])
