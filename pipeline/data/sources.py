"""Sources of images, read piece by piece as pixels of one shape: arrays here, folders in ``pipeline.data.folder``.

``pipeline.data.catalogue`` opens a source once: it lists the images, reads their labels and computes the state. Then
any worker can read any piece. A *position* is an image's place in its split: by index for arrays, by key for folders.
n = images of a piece; H, W, C = the pool's shape.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Int64, Uint8
from pipeline.data.decode import fit_array

Shape = tuple[int, int, int]
CHANNELS = {"grey": 1, "rgb": 3}


@dataclass(frozen=True)
class Decoded:
    """A piece of one split. Shapes: position, key, sha256 (n,); images (n, H, W, C) uint8."""

    position: Int64
    key: list[str]
    sha256: list[bytes]
    images: Uint8
    rejected: list[tuple[int, str]] = field(default_factory=list)
    """(position, reason) of images that could not be read; not counted in n."""
    paged: list[int] = field(default_factory=list)
    """Positions of images that are the first page of a file with further ones, which are not read."""


class Source(Protocol):
    """What every source can do."""

    @property
    def state(self) -> str:
        """A short text with a hash that changes when the images or labels do."""

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names by label number; None where no labels are known."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences to tell the user."""

    @property
    def splits(self) -> dict[str, int]:
        """Images in each of "train" (the pool), "val" and "test"."""

    def shape(self) -> Shape:
        """(H, W, C) of all decoded images."""

    def labels(self, split: str) -> NDArray[np.int32] | None:
        """(n,) label numbers by position, -1 for no label; None where the split has no labels."""

    def keys(self, split: str, positions: Int64) -> list[str]:
        """The keys at ``positions``."""

    def pieces(self, split: str, rows: int) -> list[tuple[int, int]]:
        """Ranges of positions that can be read in parallel; each begins at a multiple of ``rows``."""

    def read(self, split: str, start: int, stop: int, rows: int, shape: Shape) -> Iterator[Decoded]:
        """The images at positions start .. stop-1, ``rows`` at a time."""


class Stack(Protocol):
    """An array of images in memory or in a file: (N, H, W) or (N, H, W, 1 or 3) uint8."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""

    def chunks(self, rows: int) -> Iterator[Uint8]:
        """The array in order, ``rows`` images at a time."""


@dataclass(frozen=True)
class MemoryStack:
    """An array in memory."""

    array: Uint8

    @property
    def shape(self) -> tuple[int, ...]:
        """The array's shape."""
        return self.array.shape

    def chunks(self, rows: int) -> Iterator[Uint8]:
        """The array in order, ``rows`` images at a time."""
        for start in range(0, len(self.array), rows):
            yield self.array[start : start + rows]


@dataclass(frozen=True)
class ArraySource:
    """Numbered images: the key is the index in the source."""

    stacks: Mapping[str, Stack]
    state: str
    label_numbers: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    size: int | None = None
    """Side to resize to; None: unchanged."""
    channels: int | None = None
    """1 or 3; None: unchanged."""
    index: dict[str, Int64] = field(default_factory=dict)
    """Position -> index in the source, for splits that hold a subset of the source."""

    @property
    def splits(self) -> dict[str, int]:
        """Images in each split."""
        return {split: stack.shape[0] for split, stack in self.stacks.items()}

    def shape(self) -> Shape:
        """(H, W, C) of the pool."""
        height, width, *rest = self.stacks["train"].shape[1:]
        channels = self.channels or (rest[0] if rest else 1)
        return (self.size or height, self.size or width, channels)

    def labels(self, split: str) -> NDArray[np.int32] | None:
        """(n,) label numbers by position."""
        return self.label_numbers.get(split)

    def keys(self, split: str, positions: Int64) -> list[str]:
        """The source indices as text."""
        return [str(key) for key in (self.index[split][positions] if split in self.index else positions)]

    def pieces(self, split: str, rows: int) -> list[tuple[int, int]]:
        """One range: an array in an archive can only be read from its start."""
        return [(0, self.splits[split])]

    def read(self, split: str, start: int, stop: int, rows: int, shape: Shape) -> Iterator[Decoded]:
        """The whole split in order, ``rows`` at a time. sha256 is of the source's pixels, before any resizing."""
        assert (start, stop) == (0, self.splits[split])
        for chunk in self.stacks[split].chunks(rows):
            position = np.arange(start, start + len(chunk))
            start += len(chunk)
            digests = [hashlib.sha256(image.tobytes()).digest() for image in chunk]
            yield Decoded(position, self.keys(split, position), digests, _fit_all(chunk, self.size, shape))


def _fit_all(images: Uint8, size: int | None, shape: Shape) -> Uint8:
    """(n, h, w[, c]) -> (n, H, W, C)."""
    with_channels = images if images.ndim == 4 else images[..., None]
    if with_channels.shape[1:] == shape:
        return with_channels
    return np.stack([fit_array(image, size, shape[2]) for image in images])
