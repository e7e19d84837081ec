"""Labels of images, from folders' names, tables or arrays. Used for evaluation only, stored apart."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.decode import SUFFIXES
from pipeline.errors import InputError
from pipeline.progress import counted

Numbers = NDArray[np.int32]
Names = list[str | None]
"""A class name an image; None: unlabelled."""
_SEPARATORS = ",;\t|"
"""Spreadsheets write the semicolon where the comma is the decimal sign."""
_ESCAPED = re.compile(r"'+[=+\-@\t\r]")
_TOLD = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)
"""The first line of a table that tells a spreadsheet its separator."""


@dataclass(frozen=True)
class Table:
    """A table of labels as its file holds it. ``name``: as the user wrote it, for errors."""

    name: str
    data: bytes


@dataclass(frozen=True)
class _Row:
    """One id's label. ``written``: the id as it stands in ``table``."""

    label: str | None
    written: str
    table: str


class Cleaner:
    """Class names as they are compared: composed (NFC), without blanks around them, None for what is no label.

    ``marked`` counts the names that were not empty and yet are none.

    Args:
        no_label: names that mean "unlabelled", in any case of letters.
    """

    def __init__(self, no_label: Collection[str]) -> None:
        self._no_label = {plain(name).casefold() for name in no_label}
        self.marked: Counter[str] = Counter()

    def __call__(self, name: str | None) -> str | None:
        """The class name, or None."""
        name = plain(name or "")
        if name.casefold() not in self._no_label:
            return name or None
        if name:
            self.marked[name] += 1
        return None


def plain(text: str) -> str:
    """The text composed (NFC), without blanks around it. File systems and tables differ in both."""
    return unicodedata.normalize("NFC", text).strip()


def number_labels(names: Iterable[str | None]) -> tuple[Numbers, tuple[str, ...]]:
    """Names -> (label numbers, -1 where the name is None; class names, sorted)."""
    names = list(names)
    classes = tuple(sorted({name for name in names if name is not None}))
    number: dict[str | None, int] = {None: -1, **{name: index for index, name in enumerate(classes)}}
    return np.array([number[name] for name in names], np.int32), classes


def labels_from_folders(keys: Sequence[str], clean: Cleaner) -> Names:
    """The name of each key's parent folder; None for files at the top.

    Raises:
        InputError: all files are at the top.
    """
    names = [key.split("/")[-2] if "/" in key else None for key in keys]
    if not any(names):
        raise InputError("--labels folder needs one folder a class, but all images lie at the top; leave --labels out.")
    return [clean(name) for name in names]


def labels_from_tables(
    tables: Sequence[Table], keys: Sequence[str], key_column: str, label_column: str, clean: Cleaner
) -> Names:
    """Each key's label in the tables, or None.

    The key column holds relative paths, file names or stems (HAM10000's ``image_id``); they are tried in that order.
    Rows of other images are ignored.

    Raises:
        InputError: a column is missing, an image has two labels, an id fits two images, a spreadsheet has changed the
            ids, or no image has a label.
    """
    label_of: dict[str, _Row] = {}
    columns: list[str] = []
    for table in tables:
        rows, columns = _rows(table, key_column, label_column)
        for written, label in rows:
            _add(label_of, _Row(clean(label), written, table.name))
    found = _matched(label_of, keys, key_column)
    used = {*found.values()}
    unused = [row for each, row in label_of.items() if each not in used]
    _check_ids(unused, [key for key in keys if key not in found], key_column)
    names = [label_of[found[key]].label if key in found else None for key in keys]
    if not any(names):
        row = next(iter(label_of.values()), _Row(None, "nothing", tables[0].name))
        if found:
            raise InputError(
                f"Column '{label_column}' of '{row.table}' marks all images as unlabelled; choose another "
                f"--label-column: {', '.join(columns)}."
            )
        raise InputError(
            f"None of {counted(len(keys), 'image')} (such as '{keys[0]}') is labelled by column "
            f"'{key_column}' of '{row.table}' (such as '{row.written}'); choose another --key-column: "
            f"{', '.join(columns)}."
        )
    return names


def numbers_from_array(
    arrays: Mapping[str, NDArray[Any]], clean: Cleaner
) -> tuple[dict[str, Numbers], tuple[str, ...]]:
    """Labels (N,) of each split, numbers or text -> (label numbers, class names in the values' sorted order).

    Not-a-number is no label. Whole numbers that such a gap made floats get their names back: "3", not "3.0".
    """
    together = np.concatenate(list(arrays.values()))
    if together.dtype.kind == "S":
        together = np.char.decode(together, "utf-8", "replace")
    if together.dtype.kind in "fiub":
        values = np.unique(together)
        values = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        numbers = np.searchsorted(values, together).astype(np.int32)
        if together.dtype.kind == "f":
            gaps = np.isnan(together)
            clean.marked["nan"] += int(gaps.sum())
            numbers[gaps] = -1
            values = values.astype(np.int64) if (values % 1 == 0).all() else values
        classes = tuple(str(value) for value in values)
    else:
        numbers, classes = number_labels(clean(str(value)) for value in together)
    ends = np.cumsum([len(array) for array in arrays.values()])[:-1]
    return dict(zip(arrays, np.split(numbers, ends), strict=True)), classes


def unlabelled_note(missing: int, total: int, clean: Cleaner) -> str:
    """How many images have no label, and which names were taken for none."""
    note = f"{missing} of {total} images have no label"
    if not clean.marked:
        return note
    words = ", ".join(f"{count} '{name}'" for name, count in sorted(clean.marked.items()))
    return f"{note}; these mean unlabelled: {words} (if one is a class, list the others in ingest.no_label)"


# ---- ids and keys ------------------------------------------------------------------------


def _plain_id(text: str) -> str:
    """A path as it is compared: Windows' separators become slashes."""
    return plain(text).replace("\\", "/").removeprefix("./")


def named_by_table(table: Table, keys: Sequence[str], key_column: str) -> tuple[NDArray[np.bool_], list[str]]:
    """Which images a table names, whatever else it says of them.

    The key column holds relative paths, file names or stems, as that of a table of labels.

    Returns:
        (N,) whether each of ``keys`` is named; the ids that name none of them.

    Raises:
        InputError: the column is missing, an id fits two images, or a spreadsheet has changed the ids.
    """
    rows, _ = _rows(table, key_column, key_column)
    label_of: dict[str, _Row] = {}
    for written, _ in rows:
        _add(label_of, _Row("named", written, table.name))
    found = _matched(label_of, keys, key_column)
    used = {*found.values()}
    unused = [row for each, row in label_of.items() if each not in used]
    _check_ids(unused, [key for key in keys if key not in found], key_column)
    return np.array([key in found for key in keys], np.bool_), [row.written for row in unused]


def unsafe(text: str) -> str:
    """The text without the apostrophe that a table has in front of what a spreadsheet would compute."""
    return text[1:] if _ESCAPED.match(text) else text


def _add(label_of: dict[str, _Row], row: _Row) -> None:
    name = _plain_id(unsafe(row.written))
    known = label_of.setdefault(name, row)
    if known.label is None:
        label_of[name] = row
    elif row.label is not None and row.label != known.label:
        if known.table == row.table:
            raise InputError(
                f"'{row.table}' gives '{row.written}' the labels '{known.label}' and '{row.label}'; keep one."
            )
        raise InputError(
            f"'{row.written}' has the label '{known.label}' in '{known.table}' and '{row.label}' in '{row.table}'; "
            "keep one."
        )


def _matched(label_of: Mapping[str, _Row], keys: Sequence[str], key_column: str) -> dict[str, str]:
    """Key -> the id in ``label_of`` that names it best.

    Raises:
        InputError: an id names two images, or two ids of one image have different labels.
    """
    paths = {_plain_id(key) for key in keys} if any("/" in each for each in label_of) else set()
    found: dict[str, str] = {}
    first: dict[str, str] = {}
    several: list[tuple[str, list[str]]] = []
    for key in keys:
        path = _plain_id(key)
        file = path.rpartition("/")[2]
        # In a table of paths the path of one image is not the file name of another.
        names = [path, *(name for name in (file, file.rpartition(".")[0]) if name not in paths)]
        fitting = [name for name in dict.fromkeys(names) if name in label_of]
        if not fitting:
            continue
        best, row = fitting[0], label_of[fitting[0]]
        if row.label is not None and (other := first.setdefault(best, key)) != key:
            raise InputError(
                f"'{row.written}' of '{row.table}' fits two images, '{other}' and '{key}'; write their paths in column "
                f"'{key_column}', or leave one out of the pool."
            )
        found[key] = best
        several += [(key, fitting)] if len(fitting) > 1 else []
    used = {*found.values()}
    for key, (best, *others) in several:
        for other in others:
            one, two = label_of[best], label_of[other]
            if other not in used and one.label and two.label and one.label != two.label:
                raise InputError(
                    f"'{key}' has the label '{one.label}' by '{one.written}' of '{one.table}' and '{two.label}' by "
                    f"'{two.written}' of '{two.table}'; keep one."
                )
    return found


# ---- ids that a spreadsheet changed ------------------------------------------------------


def _check_ids(unused: Sequence[_Row], keys: Sequence[str], key_column: str) -> None:
    """Raise InputError where ids that fit no image are the numbers of images without a row."""
    key_of = {_number(stem): key for key in keys if (stem := _stem(key)).isdecimal()}

    @cache
    def rounded(decimals: int) -> dict[str, str]:
        return {f"{Decimal(number):.{decimals}e}": key for number, key in key_of.items()}

    lost: list[tuple[_Row, str, str]] = []
    for row in unused:
        text = _stem(row.written)
        if whole := re.fullmatch(r"(\d+)([.,]0*)?", text):
            key = key_of.get(_number(whole[1]))
            why = "it has become a decimal number" if whole[2] else "its leading zeros are lost"
        elif short := re.fullmatch(r"(\d)[.,]?(\d*)[eE]\+?(\d+)", text):
            first, decimals, exponent = short.groups()
            key = rounded(len(decimals)).get(f"{first}{'.' * bool(decimals)}{decimals}e+{int(exponent)}")
            why = "it was rounded to scientific notation"
        else:
            continue
        lost += [(row, why, key)] if key is not None else []
    if lost:
        row, why, key = lost[0]
        raise InputError(
            f"'{row.table}' has the id '{row.written}' where the image is '{key}': {why}, as of {len(lost)} ids; "
            f"save the table again with column '{key_column}' as text, written as the files are named."
        )


def _number(digits: str) -> str:
    return digits.lstrip("0") or "0"


def _stem(name: str) -> str:
    """The file name without an image's suffix."""
    file = _plain_id(name).rpartition("/")[2]
    stem, dot, suffix = file.rpartition(".")
    return stem if f"{dot}{suffix}".lower() in SUFFIXES else file


# ---- tables ------------------------------------------------------------------------------


def _rows(table: Table, key_column: str, label_column: str) -> tuple[list[tuple[str, str]], list[str]]:
    """((id, label) of every row, the table's columns)."""
    columns, lines = table_rows(table, {key_column, label_column})
    for option, column in (("key", key_column), ("label", label_column)):
        if plain(column) not in columns:
            raise InputError(
                f"'{table.name}' has no column '{column}'; choose --{option}-column among "
                f"{', '.join(columns) or 'none'}."
            )
    key, label = columns.index(plain(key_column)), columns.index(plain(label_column))
    return [(line[key], line[label]) for line in lines if line[key].strip()], columns


def table_rows(table: Table, wanted: set[str]) -> tuple[list[str], list[list[str]]]:
    """The columns' names and the rows of a CSV file.

    Args:
        wanted: columns that tell the separator, where the file has them.

    Raises:
        InputError: no CSV in UTF-8.
    """
    if b"\0" in table.data:
        raise _no_csv(table.name, "it holds zero bytes, as workbooks and UTF-16 do")
    try:
        separator, text = _separator(table.data.decode("utf-8-sig"), wanted)
        lines = _lines(text, separator)
    except (UnicodeDecodeError, csv.Error) as error:
        raise _no_csv(table.name, str(error)) from None
    columns = [plain(name) for name in lines[0]] if lines else []
    if wrong := [line for line in lines if len(line) != len(columns)]:
        raise _no_csv(table.name, f"'{separator.join(wrong[0])}' has not {len(columns)} columns as the first line")
    return columns, lines[1:]


def _separator(text: str, wanted: set[str]) -> tuple[str, str]:
    """The separator that splits the first line into the ``wanted`` columns, else the comma; and the table's text."""
    if told := _TOLD.match(text):
        return told[1], text[told.end() :]
    first = {each: next(iter(_lines(text[: 1 << 16], each, most=1)), []) for each in _SEPARATORS}
    for separator in _SEPARATORS if wanted else ():
        if {plain(name) for name in wanted} <= {plain(name) for name in first[separator]}:
            return separator, text
    if not wanted:  # who names no column takes that which makes the most of them
        return max(_SEPARATORS, key=lambda each: len(first[each])), text
    return _SEPARATORS[0], text


def _lines(text: str, separator: str, most: int | None = None) -> list[list[str]]:
    """The table's first lines, without empty ones."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=most is None)
    lines = (line for line in reader if line)
    return list(lines) if most is None else [line for line, _ in zip(lines, range(most), strict=False)]


def _no_csv(name: str, why: str) -> InputError:
    return InputError(f"'{name}' is no CSV file in UTF-8 ({why}); save it as one.")
