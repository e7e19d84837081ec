"""Labels of a folder's images, from parent folders' names or a CSV file. Used for evaluation only, stored apart."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.progress import counted

Numbers = NDArray[np.int32]
_SEPARATORS = ",;\t"
"""Spreadsheets write the semicolon where the comma is the decimal sign."""


def number_labels(names: Iterable[str | None]) -> tuple[Numbers, tuple[str, ...]]:
    """Names -> (label numbers, -1 where the name is None; class names, sorted)."""
    names = list(names)
    classes = tuple(sorted({name for name in names if name is not None}))
    number: dict[str | None, int] = {None: -1, **{name: index for index, name in enumerate(classes)}}
    return np.array([number[name] for name in names], np.int32), classes


def labels_from_folders(keys: Sequence[str]) -> list[str | None]:
    """The name of each key's parent folder; None for files at the top.

    Raises:
        InputError: all files are at the top.
    """
    names = [key.split("/")[-2] if "/" in key else None for key in keys]
    if not any(names):
        raise InputError("--labels folder needs one folder a class, but all images lie at the top; leave --labels out.")
    return names


def labels_from_csv(
    data: bytes, name: str, keys: Sequence[str], key_column: str, label_column: str
) -> list[str | None]:
    """Each key's label in a CSV file, or None.

    The key column holds relative paths, file names or stems (HAM10000's ``image_id``); they are tried in that order.
    Empty labels and rows of other images are ignored.

    Args:
        data: the file's bytes.
        name: the file as the user named it, for errors.

    Raises:
        InputError: a column is missing, a key has two labels, or no image has one.
    """
    table = _columns(data, name, key_column, label_column)
    label_of: dict[str, str] = {}
    for key, label in zip(table[key_column].to_pylist(), table[label_column].to_pylist(), strict=True):
        if label and label_of.setdefault(key, label) != label:
            raise InputError(f"'{name}' gives '{key}' the labels '{label_of[key]}' and '{label}'; keep one.")
    names = [_find(label_of, key) for key in keys]
    if not any(names):
        first = next(iter(label_of), "nothing")
        _, columns = _header(data, name, {key_column, label_column})
        raise InputError(
            f"Not one of the {counted(len(keys), 'image')} (such as '{keys[0]}') is labelled by column "
            f"'{key_column}' of '{name}' (such as '{first}'); choose another --key-column: {', '.join(columns)}."
        )
    return names


def numbers_from_array(arrays: dict[str, NDArray[Any]]) -> tuple[dict[str, Numbers], tuple[str, ...]]:
    """Labels (N,) of each split, numbers or text -> (label numbers, class names in the values' sorted order)."""
    values = np.unique(np.concatenate(list(arrays.values())))
    numbers = {split: np.searchsorted(values, array).astype(np.int32) for split, array in arrays.items()}
    return numbers, tuple(str(value) for value in values)


def _find(label_of: dict[str, str], key: str) -> str | None:
    file = key.rpartition("/")[2]
    for candidate in (key, file, file.rpartition(".")[0]):
        if candidate in label_of:
            return label_of[candidate]
    return None


def _columns(data: bytes, name: str, key_column: str, label_column: str) -> pa.Table:
    separator, columns = _header(data, name, {key_column, label_column})
    for option, column in (("key", key_column), ("label", label_column)):
        if column not in columns:
            raise InputError(
                f"'{name}' has no column '{column}'; choose --{option}-column among {', '.join(columns) or 'none'}."
            )
    wanted = sorted({key_column, label_column})
    try:
        return pa.csv.read_csv(
            pa.BufferReader(data),
            parse_options=pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=pa.csv.ConvertOptions(
                include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string())
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise _no_csv(name, str(error).splitlines()[0]) from None


def _header(data: bytes, name: str, wanted: set[str]) -> tuple[str, list[str]]:
    """The separator that splits the first line into the ``wanted`` columns, else the comma; and that line's columns."""
    start = data[: 1 << 16]
    if b"\0" in start:
        raise _no_csv(name, "it holds zero bytes, as workbooks and UTF-16 do")
    first = start.decode("utf-8-sig", errors="replace")
    try:
        headers = {each: next(csv.reader(io.StringIO(first, newline=""), delimiter=each), []) for each in _SEPARATORS}
    except csv.Error as error:
        raise _no_csv(name, str(error)) from None
    separator = next((each for each, columns in headers.items() if wanted <= set(columns)), _SEPARATORS[0])
    return separator, headers[separator]


def _no_csv(name: str, why: str) -> InputError:
    return InputError(f"'{name}' is no CSV file in UTF-8 ({why}); save it as one.")
