"""Archives with MedMNIST's keys, {train,val,test}_images and _labels. Images are streamed, never held whole."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Uint8
from pipeline.errors import InputError
from pipeline.progress import counted
from pipeline.storage import Location

SPLITS = ("train", "val", "test")
_HASH_BYTES = 8 << 20
_SMALLEST_ARCHIVE = 22
"""Bytes of an empty archive. ``zipfile`` fails with other errors on shorter files."""


@dataclass(frozen=True)
class NpyStack:
    """One array of an archive: (N, H, W) or (N, H, W, 1 or 3) uint8, streamed."""

    location: Location
    file: str
    member: str
    shape: tuple[int, ...]

    def chunks(self, rows: int) -> Iterator[Uint8]:
        """The array in order, ``rows`` images at a time.

        Raises:
            InputError: the archive is cut short or damaged.
        """
        image_bytes = int(np.prod(self.shape[1:]))
        with _archive(self.location, self.file) as archive, archive.open(self.member) as stream:
            _header(stream)
            for start in range(0, self.shape[0], rows):
                count = min(rows, self.shape[0] - start)
                data = stream.read(count * image_bytes)
                if len(data) != count * image_bytes:
                    raise _damaged(self.location, self.file, f"{self.member} ends early")
                yield np.frombuffer(data, np.uint8).reshape(count, *self.shape[1:])


@dataclass(frozen=True)
class NpzContent:
    """What an archive holds for each split: an image stack and, where known, labels (N,) or (N, k)."""

    stacks: dict[str, NpyStack]
    labels: dict[str, NDArray[Any]]
    state: str


def open_npz(location: Location, file: str, of: tuple[str, ...] = SPLITS) -> NpzContent:
    """Read the archive's headers and labels, and hash the file.

    Args:
        of: the splits to read. The first must be there.

    Raises:
        InputError: no archive, no images of the first split, or an array that is no stack of images.
    """
    shown = location.show(file)
    with _archive(location, file) as archive:
        members = {info.filename.removesuffix(".npy"): info.filename for info in archive.infolist()}
        if f"{of[0]}_images" not in members:
            what = "its pool is" if of[0] == "train" else "images are"
            raise InputError(
                f"'{shown}' holds {', '.join(sorted(members)) or 'nothing'}, but {what} looked for under "
                f"'{of[0]}_images' (MedMNIST's keys: train_images, train_labels, val_images, ...); rename the array."
            )
        present = [split for split in of if f"{split}_images" in members]
        stacks, labels = {}, {}
        for split in present:
            member = members[f"{split}_images"]
            with archive.open(member) as stream:
                stacks[split] = NpyStack(location, file, member, _image_shape(stream, f"{split}_images", shown))
            if f"{split}_labels" in members:
                with archive.open(members[f"{split}_labels"]) as stream:
                    labels[split] = _labels(stream, f"{split}_labels", shown, stacks[split].shape[0])
    return NpzContent(stacks, labels, f"sha256 {_sha256(location, file)[:16]}")


def _image_shape(stream: IO[bytes], key: str, shown: str) -> tuple[int, ...]:
    shape, fortran, dtype = _header(stream)
    if dtype != np.uint8:
        raise InputError(f"'{key}' of '{shown}' holds {dtype} values; convert them to uint8 (0 to 255) first.")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)) or 0 in shape:
        raise InputError(f"'{key}' of '{shown}' has shape {shape}; images are (N, H, W) or (N, H, W, 1 or 3).")
    if fortran:
        raise InputError(f"'{key}' of '{shown}' is in Fortran order; save np.ascontiguousarray of it instead.")
    return shape


def _labels(stream: IO[bytes], key: str, shown: str, images: int) -> NDArray[Any]:
    try:
        labels: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    except ValueError as error:
        raise InputError(f"'{key}' of '{shown}' cannot be read ({error}); save plain numbers.") from None
    if len(labels) != images:
        raise InputError(
            f"'{key}' of '{shown}' has {counted(len(labels), 'row')} for {counted(images, 'image')}; make them match."
        )
    return labels


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)


@contextmanager
def _archive(location: Location, file: str) -> Iterator[zipfile.ZipFile]:
    if not location.is_file(file):
        raise InputError(f"There is no file '{location.show(file)}'; check the path.")
    try:
        with location.open(file) as handle:
            if handle.size() < _SMALLEST_ARCHIVE:
                raise zipfile.BadZipFile(f"{handle.size()} bytes")
            with zipfile.ZipFile(cast("IO[bytes]", handle)) as archive:
                yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _damaged(location, file, str(error)) from None


def _damaged(location: Location, file: str, why: str) -> InputError:
    return InputError(f"'{location.show(file)}' is no .npz archive, or a damaged one ({why}); get it again.")


def _sha256(location: Location, file: str) -> str:
    digest = hashlib.sha256()
    with location.open(file) as handle:
        while data := handle.read(_HASH_BYTES):
            digest.update(data)
    return digest.hexdigest()
