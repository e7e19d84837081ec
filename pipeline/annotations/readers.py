"""Files of annotation tools -> answers. The format is told by the content, not by the name.

Sources: Label Studio 1.23's exports (JSON, JSON_MIN, CSV), CVAT's "CVAT for images 1.1", COCO, folders named by class.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from xml.parsers import expat

from pipeline.data.labels import Cleaner, Table, table_rows
from pipeline.errors import InputError

FORMATS = (
    "a CSV table, Label Studio's JSON, JSON_MIN or CSV, CVAT for images 1.1 (XML), COCO (JSON), or a folder with one "
    "folder a class"
)
_KEYS = ("key", "image", "file_name", "filename", "file", "path", "image_id", "id", "name")
_LABELS = ("label", "choice", "class", "category", "diagnosis", "target", "y")
"""Columns that hold the key and the label where nobody says which; the first that is there."""
_ANNOTATORS, _TIMES = ("annotator", "completed_by", "reader", "user"), ("updated_at", "created_at", "time", "date")
_SKIP = ("was_cancelled", "skipped", "cancelled")


@dataclass(frozen=True)
class Answer:
    """One annotator's answer for one image. ``label`` None: skipped, or looked at and left without one."""

    key: str
    """As the tool wrote it: a key, a file name, or an address."""
    label: str | None
    annotator: str = ""
    time: str = ""
    """ISO 8601, or nothing. Later answers of an annotator take the place of earlier ones."""
    skipped: bool = False
    """The annotator says that this image cannot be labelled."""


@dataclass(frozen=True)
class Returned:
    """The answers of one file, and what was taken for what."""

    answers: list[Answer]
    format: str


def read_answers(
    table: Table, clean: Cleaner, key_column: str | None = None, label_column: str | None = None
) -> Returned:
    """The answers in a file.

    Args:
        clean: knows which labels mean "unlabelled".
        key_column, label_column: of a table. None: the first of the usual names that is there.

    Raises:
        InputError: no format that can be read, or a column is missing.
    """
    start = table.data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start in (b"{", b"["):
        return _json(table, clean, key_column, label_column)
    if start == b"<":
        return Returned(list(_cvat(table, clean)), "CVAT for images 1.1")
    return _csv(table, clean, key_column, label_column)


def read_folder(keys: Iterable[str], clean: Cleaner) -> Returned:
    """Answers of an ImageNet-like folder: ``class/file`` or ``split/class/file``."""
    answers = []
    for key in keys:
        folder, _, name = key.rpartition("/")
        if folder:
            answers.append(Answer(name, clean(folder.rpartition("/")[2])))
    return Returned(answers, "folders named by class")


# ---- tables ------------------------------------------------------------------------------


def _csv(table: Table, clean: Cleaner, key_column: str | None, label_column: str | None) -> Returned:
    columns, rows = table_rows(table, {key_column or "", label_column or ""} - {""})
    key = _column(table.name, columns, key_column, _KEYS, "key")
    label = _column(table.name, columns, label_column, _LABELS, "label")
    others = {name: _first(columns, names) for name, names in (("annotator", _ANNOTATORS), ("time", _TIMES))}
    skip = _first(columns, _SKIP)

    def value(row: list[str], at: int | None) -> str:
        return "" if at is None else row[at].strip()

    answers = [
        Answer(
            row[key].strip(),
            clean(row[label]),
            value(row, others["annotator"]),
            value(row, others["time"]),
            value(row, skip).casefold() in ("true", "1", "yes"),
        )
        for row in rows
        if row[key].strip()
    ]
    return Returned(answers, f"a table: '{columns[key]}' names the image, '{columns[label]}' its label")


def _column(name: str, columns: list[str], wanted: str | None, usual: tuple[str, ...], what: str) -> int:
    found = columns.index(wanted) if wanted in columns else None
    if wanted is None:
        found = _first(columns, usual)
    if found is None:
        raise InputError(
            f"'{name}' has no column {f'{wanted!r}' if wanted else f'that is called as {what}s are'}; choose "
            f"--{what}-column among {', '.join(columns) or 'none'}."
        )
    return found


def _first(columns: list[str], usual: tuple[str, ...]) -> int | None:
    plain = [column.casefold() for column in columns]
    return next((plain.index(name) for name in usual if name in plain), None)


# ---- JSON --------------------------------------------------------------------------------


def _json(table: Table, clean: Cleaner, key_column: str | None, label_column: str | None) -> Returned:
    try:
        found = json.loads(table.data.decode("utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        try:
            found = [json.loads(line) for line in table.data.decode("utf-8-sig").splitlines() if line.strip()]
        except (UnicodeDecodeError, json.JSONDecodeError):
            raise InputError(f"'{table.name}' is no JSON ({error}); export it again.") from None
    if isinstance(found, dict) and isinstance(found.get("images"), list):
        return Returned(list(_coco(table.name, found, clean)), "COCO")
    rows = found if isinstance(found, list) else [found]
    if not all(isinstance(row, dict) for row in rows):
        raise InputError(f"'{table.name}' is JSON of no kind that is known; give {FORMATS}.")
    if any("annotations" in row for row in rows):
        return Returned([each for row in rows for each in _task(row, clean)], "Label Studio's JSON")
    answers = [_minimal(table.name, row, clean, key_column, label_column) for row in rows]
    return Returned(answers, "Label Studio's JSON_MIN")


def _task(task: dict[str, Any], clean: Cleaner) -> Iterator[Answer]:
    """Every annotation of a task; one that was cancelled means that it cannot be labelled."""
    data = task.get("data")
    key = _key_of(data if isinstance(data, dict) else {})
    if key is None:
        return
    for each in task.get("annotations") or ():
        if not isinstance(each, dict):
            continue
        by, time = each.get("completed_by"), str(each.get("updated_at") or each.get("created_at") or "")
        annotator = str(by.get("email") or by.get("id") or "") if isinstance(by, dict) else str(by or "")
        if each.get("was_cancelled"):
            yield Answer(key, None, annotator, time, skipped=True)
            continue
        labels = [label for result in each.get("result") or () for label in _choices(result)]
        # An image has one class: what says several is no answer to that.
        yield Answer(key, clean(labels[0]) if len(labels) == 1 else None, annotator, time)


def _choices(result: Any) -> list[str]:
    value = result.get("value") if isinstance(result, dict) else None
    if not isinstance(value, dict):
        return []
    found: Any = next((value[name] for name in ("choices", "taxonomy", "labels") if value.get(name)), [])
    flat = [each[-1] if isinstance(each, list) and each else each for each in found] if isinstance(found, list) else []
    return [str(each) for each in flat]


def _key_of(data: dict[str, Any]) -> str | None:
    found = (
        data.get("key")
        or data.get("image")
        or next(
            (value for value in data.values() if isinstance(value, str) and re.search(r"\.\w{2,4}($|\?)", value)), None
        )
    )
    return None if found is None else str(found)


def _minimal(
    name: str, row: dict[str, Any], clean: Cleaner, key_column: str | None, label_column: str | None
) -> Answer:
    columns = list(row)
    key = row.get(key_column) if key_column else _key_of(row)
    label = columns[_column(name, columns, label_column, _LABELS, "label")]
    if key is None:
        raise InputError(f"'{name}' has a record without a key; choose --key-column among {', '.join(columns)}.")
    value = row[label]
    if isinstance(value, dict):
        value = (value.get("choices") or [None])[0]
    text = None if value is None else clean(str(value))
    time = str(row.get("updated_at") or row.get("created_at") or "")
    return Answer(str(key), text, str(row.get("annotator") or ""), time)


def _coco(name: str, found: dict[str, Any], clean: Cleaner) -> Iterator[Answer]:
    """An image's class is the category that all of its annotations share; the image itself may have one, too."""
    try:
        categories = {each["id"]: str(each["name"]) for each in found.get("categories", ())}
        files = {each["id"]: str(each["file_name"]) for each in found["images"]}
        of_image: dict[Any, set[str]] = {}
        for each in found.get("annotations", ()):
            of_image.setdefault(each["image_id"], set()).add(categories[each["category_id"]])
        for number, file in files.items():
            labels = of_image.get(number, set())
            yield Answer(file, clean(next(iter(labels))) if len(labels) == 1 else None)
    except (KeyError, TypeError) as error:
        raise InputError(f"'{name}' is COCO that lacks {error}; export it again.") from None


# ---- XML ---------------------------------------------------------------------------------


def _cvat(table: Table, clean: Cleaner) -> Iterator[Answer]:
    """``<image name="..."><tag label="..."/></image>``. Entities and document types are refused."""
    found: list[Answer] = []
    image: list[str | None] = [None]
    labels: list[str] = []
    seen: list[str] = []

    def begin(element: str, attributes: dict[str, str]) -> None:
        seen.append(element)
        if element == "image":
            image[0] = attributes.get("name")
            labels.clear()
        elif element == "tag" and "label" in attributes:
            labels.append(attributes["label"])

    def end(element: str) -> None:
        if element == "image" and image[0] is not None:
            found.append(Answer(image[0], clean(labels[0]) if len(labels) == 1 else None))

    _parse(table, begin, end)
    if "annotations" not in seen or "image" not in seen:
        raise InputError(f"'{table.name}' is XML, and no \"CVAT for images 1.1\"; give {FORMATS}.")
    yield from found


def _parse(table: Table, begin: Callable[[str, dict[str, str]], None], end: Callable[[str], None]) -> None:
    def refuse(*_: Any) -> None:
        raise InputError(f"'{table.name}' declares XML entities or a document type, which no CVAT export does.")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(table.data, True)
    except expat.ExpatError as error:
        raise InputError(f"'{table.name}' is no whole XML ({error}); export it again.") from None
