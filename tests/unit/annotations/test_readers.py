"""What annotation tools give back: every format, and what goes wrong in it."""

from __future__ import annotations

import json

import pytest

from pipeline.annotations.readers import Answer, read_answers, read_folder
from pipeline.data.labels import Cleaner, Table
from pipeline.errors import InputError

CLEAN = Cleaner(("nan", "n/a"))


def _read(text: str | bytes, key: str | None = None, label: str | None = None) -> list[Answer]:
    data = text if isinstance(text, bytes) else text.encode()
    return read_answers(Table("back", data), CLEAN, key, label).answers


def _pairs(answers: list[Answer]) -> list[tuple[str, str | None]]:
    return [(each.key, each.label) for each in answers]


TWO = [("a.png", "cat"), ("b/001.png", "dog")]


@pytest.mark.parametrize(
    "text",
    [
        "key,label\na.png,cat\nb/001.png,dog\n",
        "\ufeffkey;label\r\na.png;cat\r\nb/001.png;dog\r\n",
        "sep=;\nkey;label\na.png;cat\nb/001.png;dog\n",
        "rank\tfilename\tdiagnosis\n1\ta.png\tcat\n2\tb/001.png\tdog\n",
        'image,id,choice,annotator\na.png,1,cat,7\nb/001.png,2,"dog",7\n',
    ],
)
def test_tables(text: str) -> None:
    assert _pairs(_read(text)) == TWO


def test_named_columns_and_missing_labels() -> None:
    text = "scan,finding,label\n007.png,nodule,x\n008.png,nan,y\n009.png,,z\n"
    assert _pairs(_read(text, "scan", "finding")) == [("007.png", "nodule"), ("008.png", None), ("009.png", None)]
    with pytest.raises(InputError, match="'back' has no column 'sacn'; choose --key-column among scan, finding, label"):
        _read(text, "sacn", "finding")
    with pytest.raises(InputError, match="no column that is called as keys are; choose --key-column among scan"):
        _read(text)


def test_who_skips_in_a_table_is_skipped() -> None:
    (one, two) = _read("key,label,was_cancelled,annotator,updated_at\na,,True,7,2026-01-02\nb,x,false,8,\n")
    assert one == Answer("a", None, "7", "2026-01-02", skipped=True) and two == Answer("b", "x", "8", "")


def _task(key: str | None, *annotations: dict[str, object]) -> dict[str, object]:
    data = {"image": "s3://bucket/" + (key or "a.png"), **({} if key is None else {"key": key})}
    return {"id": 1, "data": data, "annotations": list(annotations), "predictions": []}


def _choice(*labels: str, by: object = 7, time: str = "2026-01-01T00:00:00Z", **more: object) -> dict[str, object]:
    result = (
        [{"type": "choices", "value": {"choices": list(labels)}, "from_name": "c", "to_name": "i"}] if labels else []
    )
    return {"completed_by": by, "updated_at": time, "was_cancelled": False, "result": result, **more}


def test_label_studios_json() -> None:
    tasks = [
        _task("a.png", _choice("cat", by={"id": 3, "email": "x@y"}), _choice("dog", by=8)),
        _task("b.png", _choice(was_cancelled=True)),
        _task("c.png"),
        _task(None, _choice("cat", "dog")),
    ]
    time = "2026-01-01T00:00:00Z"
    wanted = [
        Answer("a.png", "cat", "x@y", time),
        Answer("a.png", "dog", "8", time),
        Answer("b.png", None, "7", time, skipped=True),
        Answer("s3://bucket/a.png", None, "7", time),
    ]
    assert _read(json.dumps(tasks)) == wanted
    assert _read("\n".join(json.dumps(task) for task in tasks)) == wanted, "one task a line"


def test_label_studios_json_min() -> None:
    rows = [
        {"image": "x", "key": "a.png", "id": 1, "choice": "cat", "annotator": 7, "updated_at": "2026"},
        {"image": "s3://b/001.png", "id": 2, "choice": {"choices": ["dog"]}, "annotator": 8},
        {"image": "s3://b/002.png", "id": 3, "choice": None},
    ]
    assert _read(json.dumps(rows)) == [
        Answer("a.png", "cat", "7", "2026"),
        Answer("s3://b/001.png", "dog", "8"),
        Answer("s3://b/002.png", None),
    ]


def test_coco() -> None:
    coco = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}, {"id": 3, "file_name": "c.png"}],
        "categories": [{"id": 5, "name": "cat"}, {"id": 6, "name": "dog"}],
        "annotations": [
            {"image_id": 1, "category_id": 5},
            {"image_id": 1, "category_id": 5},
            *({"image_id": 2, "category_id": each} for each in (5, 6)),
        ],
    }
    assert _pairs(_read(json.dumps(coco))) == [("a.png", "cat"), ("b.png", None), ("c.png", None)]
    del coco["categories"]
    with pytest.raises(InputError, match="'back' is COCO that lacks 5"):
        _read(json.dumps(coco))


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<image id="0" name="a.png" width="8" height="8"><tag label="cat" source="manual"></tag></image>
<image id="1" name="b/001.png" width="8" height="8"><tag label="dog"/></image>
<image id="2" name="c.png" width="8" height="8"></image>
<image id="3" name="d.png" width="8" height="8"><tag label="cat"/><tag label="dog"/></image>
</annotations>"""


def test_cvat() -> None:
    assert _pairs(_read(CVAT)) == [*TWO, ("c.png", None), ("d.png", None)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CVAT[:-20], "is no whole XML"),
        ("<html><body/></html>", 'no "CVAT for images 1.1"'),
        ('<!DOCTYPE x [<!ENTITY e "boom">]><annotations>&e;</annotations>', "declares XML entities"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><annotations/>', "declares XML entities"),
        ("[1, 2]", "is JSON of no kind that is known"),
        ('{"a": ', "is no JSON"),
        (b"PK\x03\x04\0\0", "is no CSV file"),
    ],
)
def test_what_cannot_be_read_is_told(text: str | bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        _read(text)


def test_folders_named_by_class() -> None:
    keys = ["cat/a.png", "train/dog/b.png", "loose.png"]
    assert _pairs(read_folder(keys, CLEAN).answers) == [("a.png", "cat"), ("b.png", "dog")]
