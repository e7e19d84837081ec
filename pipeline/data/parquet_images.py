"""Parquet files with a column of images: encoded bytes, Hugging Face's {bytes, path}, or pixels.

Images are read a few rows at a time, so a row group is never held whole. A row group is read from its start, which is
why pieces follow row groups.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import isqrt, prod
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.artifacts import Uint8
from pipeline.data.decode import UnreadableImageError
from pipeline.data.labels import Cleaner, number_labels, numbers_from_array, unlabelled_note
from pipeline.data.packed import Content, PackedSource, Packs, settled_keys
from pipeline.errors import InputError
from pipeline.storage import Location

IMAGE, LABEL = "image", "label"
"""Columns that are looked for unless the settings name others."""
_BATCH = 16
"""Images that are held at a time, as they are stored."""
_BUFFER = 4 << 20
"""Bytes that are read at a time. Without it a whole column of a row group would be."""
_MOST_PARTS = 8
"""Pieces that a large row group is cut into: each reads it from its start."""
_READERS = 8
_DAMAGED = ("corrupt", "decompress", "deserialize", "unexpected end", "invalid page", "lz4", "zlib", "brotli")
"""Words in pyarrow's errors about a file's content, not about the way to it."""


@dataclass(frozen=True)
class Columns:
    """What to read of each file."""

    image: str
    key: str
    label: str | None
    """None: the file's own ``label``, if it has one."""
    shape: tuple[int, ...] = ()
    """(H, W) or (H, W, C) of flat pixels; empty: square."""


@dataclass(frozen=True)
class _File:
    """One file's footer and small columns. n = its rows."""

    rows: tuple[int, ...]
    """Of each row group."""
    key: pa.ChunkedArray
    label: pa.ChunkedArray | None
    type: pa.DataType
    """Of the image column."""
    class_names: tuple[str, ...] | None
    """As Hugging Face's datasets keep them beside whole numbers."""


@dataclass(frozen=True, kw_only=True)
class ParquetSource(PackedSource):
    """Rows of Parquet files. The key is the value of a column."""

    columns: Columns
    type: pa.DataType
    groups: tuple[tuple[str, int, int, int], ...]
    """(file, row group, first position, rows), in order."""

    def units(self) -> list[tuple[int, int]]:
        """Row groups."""
        return [(first, rows) for _, _, first, rows in self.groups]

    def pieces(self, split: str, rows: int) -> list[tuple[int, int]]:
        """Ranges that follow row groups, each cut into a few where it is large."""
        cuts = {0, len(self.key)}
        for start, count in self.units():
            step = -(-count // (_MOST_PARTS * rows)) * rows
            cuts |= {at // rows * rows for at in range(start, start + count, max(step, rows))}
        ordered = sorted(cuts)
        return list(pairwise(ordered))

    def contents(self, start: int, stop: int) -> Iterator[Content]:
        """What the image column holds. Of a damaged row group, reasons."""
        for file, group, first, rows in self.groups:
            low, high = max(start, first), min(stop, first + rows)
            if low < high:
                yield from self._of_group(file, group, low - first, high - first)

    def _of_group(self, file: str, group: int, low: int, high: int) -> Iterator[Content]:
        done = 0
        try:
            with self.location.open(file) as handle:
                parquet = pq.ParquetFile(handle, buffer_size=_BUFFER)
                column = _read_as(self.columns.image, self.type)
                for batch in parquet.iter_batches(_BATCH, row_groups=[group], columns=[column]):
                    for value in _values(batch.column(0)) if done + len(batch) > low else [None] * len(batch):
                        if low <= done < high:
                            yield _content(value, self.columns.shape)
                        done += 1
                    if done >= high:
                        return
        except (OSError, pa.ArrowInvalid) as error:
            reason = self._reason(file, error)
            for _ in range(max(done, low), high):
                yield UnreadableImageError(reason)

    def _reason(self, file: str, error: Exception) -> str:
        """Why rows cannot be read; raises ``error`` where it is not about the file."""
        if isinstance(error, pa.ArrowInvalid) or any(word in str(error).lower() for word in _DAMAGED):
            return "its row group is damaged"
        reason = self.location.refusal(file, error)
        if reason is None:
            raise error
        return reason


def open_parquet(
    packs: Packs, columns: Columns, clean: Cleaner, *, size: int, channels: int | None, max_pixels: int, state: str
) -> ParquetSource:
    """Read footers, keys and labels.

    Args:
        state: what besides the files decides the pool, in words.

    Raises:
        InputError: no Parquet, no such column, a column of no images, or keys that name few of the images.
    """
    with ThreadPoolExecutor(_READERS) as readers:
        files = list(readers.map(partial(_opened, packs.location, columns=columns), packs.names))
    for name, file in zip(packs.names, files, strict=True):
        _check_alike(packs.location.show(name), file, files[0], packs.location.show(packs.names[0]), columns)
    groups: list[tuple[str, int, int, int]] = []
    first = 0
    starts: list[int] = []
    for name, file in zip(packs.names, files, strict=True):
        starts.append(first)
        for number, rows in enumerate(file.rows):
            groups.append((name, number, first, rows))
            first += rows
    if first == 0:
        raise InputError(f"There is no row in '{packs.location.show(packs.names[0])}'; check the path.")

    def place(position: int) -> str:
        at = int(np.searchsorted(starts, position, side="right")) - 1
        return f"{packs.names[at]}#row={position - starts[at]}"

    written = pa.chunked_array([chunk for file in files for chunk in file.key.chunks], pa.large_string())
    keys, reasons = settled_keys(written, place)
    if 2 * len(reasons) > first:
        raise InputError(
            f"Column '{columns.key}' names {first - len(reasons)} of {first} images; choose one that names each, with "
            "--key-column."
        )
    numbers, classes = _labels(files, columns, clean)
    missing = 0 if numbers is None else int((numbers < 0).sum())
    return ParquetSource(
        location=packs.location,
        key=keys,
        set_aside=reasons,
        state=f"{packs.state}{state}",
        size=size,
        channels=channels,
        max_pixels=max_pixels,
        label_numbers=numbers,
        classes=classes,
        notes=(unlabelled_note(missing, first, clean),) if missing else (),
        columns=columns,
        type=files[0].type,
        groups=tuple(groups),
    )


def _opened(location: Location, name: str, columns: Columns) -> _File:
    shown = location.show(name)
    try:
        with location.open(name) as handle:
            parquet = pq.ParquetFile(handle, buffer_size=_BUFFER)
            schema = parquet.schema_arrow
            for flag, column in (("image", columns.image), ("key", columns.key), ("label", columns.label)):
                if column is not None and column not in schema.names:
                    raise InputError(
                        f"'{shown}' has no column '{column}'; choose --{flag}-column among {', '.join(schema.names)}."
                    )
            label = columns.label or (LABEL if LABEL in schema.names else None)
            small = parquet.read(columns=[columns.key, *([label] if label else [])])
            key = _as_text(small[columns.key], columns.key, shown)
            rows = tuple(parquet.metadata.row_group(each).num_rows for each in range(parquet.num_row_groups))
    except pa.ArrowInvalid as error:
        raise InputError(
            f"'{shown}' is no Parquet file, or a damaged one ({_first_line(error)}); get it again."
        ) from None
    type_ = schema.field(columns.image).type
    _check_type(type_, columns.image, shown)
    return _File(rows, key, small[label] if label else None, type_, _class_names(schema, label))


def _check_alike(shown: str, file: _File, first: _File, first_shown: str, columns: Columns) -> None:
    if file.type != first.type:
        raise InputError(
            f"Column '{columns.image}' is {first.type} in '{first_shown}' and {file.type} in '{shown}'; "
            "write both alike."
        )
    if (file.label is None) != (first.label is None) or (
        file.label is not None and first.label is not None and file.label.type != first.label.type
    ):
        raise InputError(f"'{first_shown}' and '{shown}' differ in their column of labels; write them alike.")


def _as_text(column: pa.ChunkedArray, name: str, shown: str) -> pa.ChunkedArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise InputError(
            f"Column '{name}' of '{shown}' holds {kind} values; choose one of text or whole numbers, with --key-column."
        )
    return column.cast(kind).cast(pa.large_string())


# ---- images ------------------------------------------------------------------------------


def _check_type(type_: pa.DataType, column: str, shown: str) -> None:
    held = type_
    if pa.types.is_struct(held):
        if held.get_field_index("bytes") >= 0:
            held = held.field("bytes").type
            if _is_bytes(held):
                return
    elif _is_bytes(held) or pa.types.is_fixed_size_binary(held):
        return
    else:
        held = _storage(held)
        if _is_list(held):
            while _is_list(held):
                held = held.value_type
            if held == pa.uint8():
                return
            raise InputError(
                f"Column '{column}' of '{shown}' holds lists of {held} values; convert them to uint8 (0 to 255) first."
            )
    raise InputError(
        f"Column '{column}' of '{shown}' holds {type_} values, which are no images; choose --image-column: bytes of "
        "image files, structs of bytes and path, or lists of uint8."
    )


def _read_as(column: str, type_: pa.DataType) -> str:
    """The column's path in the file: of a struct the bytes alone."""
    return f"{column}.bytes" if pa.types.is_struct(type_) else column


def _values(column: pa.Array) -> Iterator[Any]:
    """Of each row: bytes, an array of pixels with the shape that its lists have, or None for null."""
    if pa.types.is_struct(column.type):
        column = pc.struct_field(column, "bytes")
    if _is_bytes(column.type):
        yield from (value.as_py() for value in column)
        return
    shape = tuple(column.type.shape) if isinstance(column.type, pa.FixedShapeTensorType) else ()
    column = column.storage if isinstance(column.type, pa.BaseExtensionType) else column
    for value in column:
        if not value.is_valid:
            yield None
        elif pa.types.is_fixed_size_binary(column.type):
            yield np.frombuffer(value.as_py(), np.uint8)
        else:
            found = _nested(value.values)
            yield found.reshape(shape) if shape and found is not None else found


def _nested(values: pa.Array) -> Uint8 | None:
    """Lists in lists as one array; None where they have different lengths or hold a null."""
    shape = [len(values)]
    while _is_list(values.type):
        lengths = pc.unique(pc.list_value_length(values)).to_pylist()
        if len(lengths) != 1 or lengths[0] is None:
            return None
        shape.append(lengths[0])
        values = values.flatten()
    if values.null_count:
        return None
    pixels: Uint8 = values.to_numpy().reshape(shape)
    return pixels


def _content(value: Any, shape: tuple[int, ...]) -> Content:
    if value is None:
        return UnreadableImageError("holds no image (null), or lists of different lengths")
    if isinstance(value, bytes):
        return value
    pixels: Uint8 = value
    if pixels.ndim == 1:
        wanted = shape or _square(len(pixels))
        if not len(pixels) or prod(wanted) != len(pixels):
            what = f"not {' x '.join(map(str, wanted))}" if wanted else "no square; say its ingest.image_shape"
            return UnreadableImageError(f"{len(pixels)} values are {what}")
        pixels = pixels.reshape(wanted)
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3)) or 0 in pixels.shape:
        return UnreadableImageError(f"has shape {pixels.shape}; images are (H, W) or (H, W, 1 or 3)")
    return np.ascontiguousarray(pixels)


def _square(values: int) -> tuple[int, ...]:
    """(s, s) or (s, s, 3); no number is both. Empty: neither."""
    for channels, rest in ((1, ()), (3, (3,))):
        side = isqrt(values // channels)
        if side * side * channels == values:
            return (side, side, *rest)
    return ()


def _is_bytes(type_: pa.DataType) -> bool:
    return pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_binary_view(type_)


def _is_list(type_: pa.DataType) -> bool:
    return pa.types.is_list(type_) or pa.types.is_large_list(type_) or pa.types.is_fixed_size_list(type_)


def _storage(type_: pa.DataType) -> pa.DataType:
    return type_.storage_type if isinstance(type_, pa.BaseExtensionType) else type_


# ---- labels ------------------------------------------------------------------------------


def _labels(
    files: list[_File], columns: Columns, clean: Cleaner
) -> tuple[NDArray[np.int32] | None, tuple[str, ...] | None]:
    """(label numbers by position, class names); neither where there are no labels."""
    labels = [file.label for file in files if file.label is not None]
    if not labels:
        return None, None
    column = pa.chunked_array([chunk for label in labels for chunk in label.chunks], labels[0].type)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_integer(column.type) and (names := files[0].class_names) is not None:
        numbers = (name if name is not None and 0 <= name < len(names) else None for name in column.to_pylist())
        numbered, classes = number_labels(clean(None if at is None else names[at]) for at in numbers)
    elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        numbered, classes = number_labels(map(clean, column.to_pylist()))
    elif pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type):
        found, classes = numbers_from_array({"train": column.to_numpy()}, clean)
        numbered = found["train"]
    elif columns.label is None:
        return None, None
    else:
        raise InputError(
            f"Column '{columns.label}' holds {column.type} values; --label-column is one of text or of numbers."
        )
    return (numbered, classes) if classes else (None, None)


def _class_names(schema: pa.Schema, label: str | None) -> tuple[str, ...] | None:
    if label is None or b"huggingface" not in (schema.metadata or {}):
        return None
    try:
        names = json.loads(schema.metadata[b"huggingface"])["info"]["features"][label]["names"]
        return tuple(map(str, names))
    except (ValueError, KeyError, TypeError):
        return None


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
