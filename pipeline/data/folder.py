"""Folders of image files, local or on S3: reading what ``pipeline.data.listing`` has found."""

from __future__ import annotations

import dataclasses
import hashlib
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.ahead import map_ahead
from pipeline.artifacts import Int64
from pipeline.data.decode import PAGED_SUFFIXES, UnreadableImageError, decode, is_grey, pages
from pipeline.data.sources import Decoded, Shape
from pipeline.errors import InputError
from pipeline.progress import counted
from pipeline.storage import GONE, Location

_GREY_SAMPLE = 64
_SIGHT_SAMPLE = 8
_READERS = 8
_PAGE = re.compile(r"#page=([1-9]\d*)\Z")
"""No image file's name ends so: its suffix comes last."""
_READ_AHEAD_BYTES = 64 << 20
_LARGEST_PIXEL = 8
"""Bytes of the widest pixel (RGBA, 16 bits a channel)."""


@dataclass(frozen=True)
class FolderSource:
    """Image files below a folder. The key is the path relative to the folder, with forward slashes.

    Where files are read page by page, "#page=2" follows for the second of several.
    """

    location: Location
    listing: pa.Table
    """Columns key (sorted; hidden ones last), size (bytes), time (of the last change, ns)."""
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
            page = page_of(key)
            try:
                if isinstance(data, UnreadableImageError):
                    raise data
                images[len(kept)] = decode(data, self.size, shape[2], self.max_pixels, (page or 1) - 1)
                if page is None and pages(data) > 1:
                    done.paged.append(position)
            except UnreadableImageError as reason:
                done.rejected.append((position, str(reason)))
                continue
            kept.append(position)
            done.key.append(key)
            done.sha256.append(hashlib.sha256(data if page is None else data + f"#page={page}".encode()).digest())
        return dataclasses.replace(done, position=np.asarray(kept, np.int64), images=images[: len(kept)])

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
            return self.location.read_bytes(file_of(key))
        except (OSError, pa.ArrowInvalid) as error:
            reason = self.location.refusal(file_of(key), error)
            if reason is None:
                raise
            if reason == GONE:
                self._check_sight()
            return UnreadableImageError(reason)

    def _check_sight(self) -> None:
        """Raise InputError where this machine sees none of some files: the folder may not be mounted here."""
        keys = self.keys("train", self._spread(_SIGHT_SAMPLE))
        if not any(self._sees(key) for key in keys):
            raise InputError(
                f"'{self.location.uri}' was listed with {counted(self.listing.num_rows, 'image')}, and on the machine "
                f"'{socket.gethostname()}' they are not there; mount it on every node, then start the job again."
            )

    def _sees(self, key: str) -> bool:
        try:
            return self.location.is_file(file_of(key))
        except (OSError, pa.ArrowInvalid):  # it is there, and may not be looked at
            return True

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


def by_page(location: Location, listing: pa.Table) -> pa.Table:
    """The listing with a row for each page of a file that has several. Reads all files whose format has pages."""
    keys, sizes = listing["key"].to_pylist(), listing["size"].to_pylist()
    paged = [at for at, key in enumerate(keys) if key.lower().endswith(PAGED_SUFFIXES)]
    counts = np.ones(len(keys), np.int64)
    found = map_ahead(
        lambda at: _pages_of(location, keys[at]),
        paged,
        threads=_READERS,
        ahead=2 * _READERS - 1,
        size=lambda at: sizes[at],
        most=_READ_AHEAD_BYTES,
    )
    for at, count in zip(paged, found, strict=True):
        counts[at] = count
    rows = np.repeat(np.arange(len(keys)), counts)
    number = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows] + 1
    named = (
        keys[row] if counts[row] == 1 else f"{keys[row]}#page={page}" for row, page in zip(rows, number, strict=True)
    )
    repeated = listing.take(pa.array(rows))
    return repeated.set_column(0, "key", pa.array(named, pa.large_string())).combine_chunks()


def file_of(key: str) -> str:
    """The file that an image's key names."""
    return _PAGE.sub("", key)


def files_of(keys: pa.ChunkedArray) -> pa.ChunkedArray:
    """``file_of`` of many keys."""
    return pc.replace_substring_regex(keys, pattern=_PAGE.pattern.replace(r"\Z", "$"), replacement="")


def page_of(key: str) -> int | None:
    """Which page, from 1, of a file of several; None where the file is meant."""
    found = _PAGE.search(key)
    return int(found[1]) if found else None


def _pages_of(location: Location, key: str) -> int:
    """At least one: what is wrong with a file is found when it is read."""
    try:
        return pages(location.read_bytes(key))
    except (OSError, pa.ArrowInvalid):
        return 1
