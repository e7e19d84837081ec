"""Pools that are already packed: many images a file, read in a stream. What Parquet files and tar shards share.

A packed pool is told by its files' names, sizes and times. An image that cannot be used has a position like all
others and is set aside with its reason, so that numbers, labels and ``rejected.csv`` are those of every source.

N = images of the source; n = images of a piece; H, W, C = the pool's shape.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.artifacts import Int64, Uint8
from pipeline.data.decode import UnreadableImageError, decode, fit_array, is_grey, pages
from pipeline.data.globs import Glob
from pipeline.data.kinds import leftover
from pipeline.data.sources import Decoded, Shape
from pipeline.errors import InputError
from pipeline.storage import Location

Content = bytes | Uint8 | UnreadableImageError
"""An image file's bytes, pixels (H, W) or (H, W, 1 or 3), or why there is neither."""
_GREY_SAMPLE = 64
_GREY_UNITS = 8


@dataclass(frozen=True)
class Packs:
    """The files of a packed pool."""

    location: Location
    names: tuple[str, ...]
    """Sorted."""
    state: str
    """How many, and a hash of their names, sizes and times."""


@dataclass(frozen=True, kw_only=True)
class PackedSource(ABC):
    """Images in the files of ``location``."""

    location: Location
    key: pa.ChunkedArray
    """(N,) large strings, each once."""
    set_aside: dict[int, str] = field(default_factory=dict)
    """Position -> reason, of images that are not read at all."""
    state: str
    size: int
    channels: int | None
    """1 or 3. None: 1 if 64 images of up to 8 units are all grey, else 3."""
    max_pixels: int
    label_numbers: NDArray[np.int32] | None = None
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def splits(self) -> dict[str, int]:
        """All images are the pool."""
        return {"train": len(self.key)}

    @abstractmethod
    def units(self) -> list[tuple[int, int]]:
        """(first position, images) of every part of a file that is read from its start: row groups, shards."""

    @abstractmethod
    def contents(self, start: int, stop: int) -> Iterator[Content]:
        """Of the positions start .. stop-1, in order; of one that is set aside, anything."""

    def shape(self) -> Shape:
        """(H, W, C) of the pool; reads some images where ``channels`` is None."""
        return (self.size, self.size, self.channels or (1 if self._sample_is_grey() else 3))

    def labels(self, split: str) -> NDArray[np.int32] | None:
        """(N,) label numbers by position."""
        return self.label_numbers

    def keys(self, split: str, positions: Int64) -> list[str]:
        """The images' names."""
        return [str(key) for key in self.key.take(pa.array(positions)).to_pylist()]

    def pieces(self, split: str, rows: int) -> list[tuple[int, int]]:
        """Ranges of ``rows`` images."""
        total = len(self.key)
        return [(start, min(start + rows, total)) for start in range(0, total, rows)]

    def read(self, split: str, start: int, stop: int, rows: int, shape: Shape) -> Iterator[Decoded]:
        """The images of a range. Unusable ones are listed as rejected, with the reason."""
        found = self.contents(start, stop)
        for first in range(start, stop, rows):
            count = min(rows, stop - first)
            yield self._decoded(first, count, islice(found, count), shape)

    def _decoded(self, first: int, count: int, contents: Iterator[Content], shape: Shape) -> Decoded:
        images = np.empty((count, *shape), np.uint8)
        kept: list[int] = []
        digests: list[bytes] = []
        rejected: list[tuple[int, str]] = []
        paged: list[int] = []
        for position, content in zip(range(first, first + count), contents, strict=True):
            try:
                if position in self.set_aside:
                    raise UnreadableImageError(self.set_aside[position])
                images[len(kept)] = self._pixels(content, shape)
            except UnreadableImageError as reason:
                rejected.append((position, str(reason)))
                continue
            kept.append(position)
            data = content if isinstance(content, bytes) else np.asarray(content).tobytes()
            digests.append(hashlib.sha256(data).digest())
            if isinstance(content, bytes) and pages(content) > 1:
                paged.append(position)
        positions = np.asarray(kept, np.int64)
        return Decoded(positions, self.keys("train", positions), digests, images[: len(kept)], rejected, paged)

    def _pixels(self, content: Content, shape: Shape) -> Uint8:
        if isinstance(content, UnreadableImageError):
            raise content
        if isinstance(content, bytes):
            return decode(content, self.size, shape[2], self.max_pixels)
        height, width = content.shape[:2]
        if height * width > self.max_pixels:
            raise UnreadableImageError(f"{width} x {height} pixels are more than ingest.max_pixels = {self.max_pixels}")
        return fit_array(content, self.size, shape[2])

    def _sample_is_grey(self) -> bool:
        units = self.units()
        chosen = np.unique(np.linspace(0, len(units) - 1, min(len(units), _GREY_UNITS)).astype(np.int64))
        readable = False
        for start, count in (units[at] for at in chosen):
            stop = start + min(count, _GREY_SAMPLE // len(chosen))
            for position, content in zip(range(start, stop), self.contents(start, stop), strict=True):
                if position in self.set_aside or isinstance(content, UnreadableImageError):
                    continue
                try:
                    grey = is_grey(content, self.max_pixels) if isinstance(content, bytes) else _is_grey(content)
                except UnreadableImageError:
                    continue
                if not grey:
                    return False
                readable = True
        return readable


def list_packs(location: Location, suffix: str, within: Glob | None, shown: str) -> Packs:
    """The files below ``location`` whose names end in ``suffix``, without hidden ones and leftovers.

    Args:
        shown: the path as the user wrote it.

    Raises:
        InputError: there is none.
    """
    found = sorted(
        row
        for row in location.walk()
        if row[0].lower().endswith(suffix) and leftover(row[0]) is None and (within is None or within.fits(row[0]))
    )
    if not found:
        raise InputError(f"There is no {suffix} file at '{shown}'; check the path.")
    return packs_of(location, found)


def packs_of(location: Location, rows: list[tuple[str, int, int]]) -> Packs:
    """Of files (name, bytes, time in ns) in order."""
    digest = hashlib.sha256("".join(f"{name}\0{size}\0{time}\n" for name, size, time in rows).encode())
    return Packs(location, tuple(name for name, _, _ in rows), f"{len(rows)} files {digest.hexdigest()[:16]}")


def settled_keys(keys: pa.ChunkedArray, place: Callable[[int], str]) -> tuple[pa.ChunkedArray, dict[int, str]]:
    """Names that are there and each there once. An image without such a name is set aside under its place.

    Args:
        keys: (N,) large strings; null or empty: none.
        place: position -> where the image lies, in words that name no other.

    Returns:
        The keys, and position -> reason of images that have none of their own.
    """
    codes = first_codes(keys)
    before = np.maximum.accumulate(np.concatenate([[-1], codes[:-1]])) if len(codes) else codes
    first_of = np.flatnonzero(codes > before)  # codes ascend in order of first appearance
    missing = np.asarray(pc.fill_null(pc.equal(keys, ""), True).combine_chunks())
    odd = np.flatnonzero(missing | (codes <= before))
    reasons = {
        position: "has no key" if missing[position] else f"its key is that of {place(int(first_of[codes[position]]))}"
        for position in odd.tolist()
    }
    return replaced(keys, {position: place(position) for position in reasons}), reasons


def first_codes(keys: pa.ChunkedArray) -> Int64:
    """(N,) a number of each distinct key, in order of first appearance; -1 for null."""
    indices = keys.combine_chunks().dictionary_encode()
    chunks = indices.chunks if isinstance(indices, pa.ChunkedArray) else [indices]
    assert len(chunks) <= 1  # of several, each would count from 0
    return np.concatenate(
        [np.empty(0, np.int64), *(pc.fill_null(chunk.indices, -1).to_numpy().astype(np.int64) for chunk in chunks)]
    )


def replaced(keys: pa.ChunkedArray, names: dict[int, str]) -> pa.ChunkedArray:
    """The keys with those at some positions replaced."""
    if not names:
        return keys
    mask = np.zeros(len(keys), bool)
    mask[list(names)] = True
    values = pa.array([names[position] for position in sorted(names)], pa.large_string())
    return pa.chunked_array([pc.replace_with_mask(keys.combine_chunks(), pa.array(mask), values)])


def _is_grey(pixels: Uint8) -> bool:
    return pixels.ndim == 2 or bool((pixels == pixels[..., :1]).all())
