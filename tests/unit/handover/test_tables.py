"""The query's files, letter by letter, and read back by other readers."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from pipeline.artifacts import ORDER_SCHEMA
from pipeline.data.labels import unsafe
from pipeline.handover.coco import coco_images
from pipeline.handover.contact_sheet import contact_sheet_pdf
from pipeline.handover.cvat import cvat_manifest, cvat_task
from pipeline.handover.label_studio import (
    image_address,
    label_studio_json,
    label_studio_lines,
    label_studio_tasks,
)
from pipeline.handover.spreadsheet import query_csv, safe

ODD_KEYS = [
    "a,b.png",
    'say "hi".png',
    "two\nlines.png",
    "carriage\rreturn.png",
    "größe/图像 1.png",
    " spaces ",
    "'=1+1",
    "tab\t.png",
    "007",
]


def query(rows: list[tuple[int, int, str, int, float, float]]) -> pa.Table:
    """Rows in the columns' order as a table of ORDER_SCHEMA."""
    return pa.Table.from_pylist([dict(zip(ORDER_SCHEMA.names, row, strict=True)) for row in rows], ORDER_SCHEMA)


SMALL = [
    (1, 1204, "scans/a.png", 3, 0.125, 0.0625),
    (2, 0, "scans/b.png", 0, 1 / 3, 0.0),
    (3, 77, "scans/c.png", 29, 1.0, 1e-12),
]


def odd() -> pa.Table:
    return query([(rank, 10 * rank, key, 0, 0.5, 0.25) for rank, key in enumerate(ODD_KEYS, 1)])


# ---- query.csv ---------------------------------------------------------------------------


def test_a_small_query_letter_by_letter() -> None:
    assert query_csv(query(SMALL)) == (
        "rank,sample_id,key,cluster,confidence,variability\n"
        "1,1204,scans/a.png,3,0.125,0.0625\n"
        "2,0,scans/b.png,0,0.333333333,0.0\n"
        "3,77,scans/c.png,29,1.0,1e-12\n"
    )


def test_an_empty_query_is_its_header() -> None:
    assert query_csv(query([])) == "rank,sample_id,key,cluster,confidence,variability\n"


def test_what_is_not_a_number_is_an_empty_field() -> None:
    text = query_csv(query([(1, 5, "a", 0, math.nan, math.nan), (2, 6, "b", 1, 0.5, math.nan)]))
    assert text.splitlines()[1:] == ["1,5,a,0,,", "2,6,b,1,0.5,"]


def test_columns_come_by_name_and_rows_in_the_tables_order() -> None:
    table = query(SMALL[::-1])
    turned = table.select(table.column_names[::-1])
    assert query_csv(turned) == query_csv(table)
    assert [line.partition(",")[0] for line in query_csv(turned).splitlines()] == ["rank", "3", "2", "1"]


def test_keys_come_back_as_they_were_from_pythons_reader() -> None:
    rows = list(csv.DictReader(io.StringIO(query_csv(odd()), newline="")))
    assert [unsafe(row["key"]) for row in rows] == ODD_KEYS
    assert [row["sample_id"] for row in rows] == [str(10 * rank) for rank in range(1, len(ODD_KEYS) + 1)]


def test_keys_come_back_as_they_were_from_arrows_reader() -> None:
    read = pyarrow.csv.read_csv(
        pa.BufferReader(query_csv(odd()).encode()),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(column_types=ORDER_SCHEMA),
    )
    keys = pa.array([unsafe(key) for key in read["key"].to_pylist()], pa.large_string())
    assert read.set_column(2, "key", keys).equals(odd())


def test_only_keys_that_need_quotes_get_them() -> None:
    lines = query_csv(query([(1, 1, "plain key.png", 0, 0.5, 0.5), (2, 2, 'a,"b"', 0, 0.5, 0.5)])).splitlines()
    assert lines[1:] == ["1,1,plain key.png,0,0.5,0.5", '2,2,"a,""b""",0,0.5,0.5']


def test_nine_digits_tell_neighbouring_confidences_apart() -> None:
    values = np.random.default_rng(0).uniform(0, 1, 200) ** 8
    rows = [(rank, rank, str(rank), 0, float(value), 0.0) for rank, value in enumerate(values, 1)]
    read = [float(row["confidence"]) for row in csv.DictReader(io.StringIO(query_csv(query(rows))))]
    np.testing.assert_allclose(read, values, rtol=5e-9, atol=0)
    assert np.array_equal(np.argsort(read), np.argsort(values))


# ---- Label Studio ------------------------------------------------------------------------


def _json(table: pa.Table, prefix: str | None, folder: str | None = None) -> str:
    images = [image_address(key, prefix, folder) for key in table["key"].to_pylist()]
    return label_studio_json(label_studio_tasks(table, images, "hacon", 7))


def tasks(table: pa.Table, prefix: str | None) -> list[dict[str, Any]]:
    """The parsed file."""
    text = _json(table, prefix)
    assert text.endswith("]\n")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    parsed: list[dict[str, Any]] = json.loads(text, parse_constant=refuse)
    return parsed


def test_tasks_have_label_studios_shape_in_order() -> None:
    # Its import format: a list of objects with "data", to which a template refers as $image.
    facts = {"rank": 1, "sample_id": 1204, "key": "scans/a.png", "cluster": 3, "confidence": 0.125, "query": 7}
    others = {"rank": 2, "sample_id": 0, "key": "scans/b.png", "cluster": 0, "confidence": 0.333333333, "query": 7}
    assert tasks(query(SMALL[:2]), None) == [
        {
            "data": {"image": "scans/a.png", **facts},
            "predictions": [{"model_version": "hacon", "score": 0.0, "cluster": 3, "result": []}],
        },
        {
            "data": {"image": "scans/b.png", **others},
            "predictions": [{"model_version": "hacon", "score": 0.5, "cluster": 0, "result": []}],
        },
    ]


def test_the_lowest_score_comes_first() -> None:
    rows = [(rank, 1000 - rank, f"{rank}.png", rank % 7, 0.5, 0.0) for rank in range(1, 1001)]
    scores = [task["predictions"][0]["score"] for task in tasks(query(rows), None)]
    assert scores == sorted(set(scores)) and scores[0] >= 0 and scores[-1] <= 1


def test_a_local_folder_stays_a_path() -> None:
    text = _json(query([(1, 5, "a+b 1.png", 0, 0.5, 0.5)]), None, "/data/scans/")
    assert json.loads(text)[0]["data"]["image"] == "/data/scans/a+b 1.png"


@pytest.mark.parametrize("prefix", ["s3://bucket/scans", "s3://bucket/scans/"])
def test_an_image_is_found_below_its_folder(prefix: str) -> None:
    found = tasks(query([(1, 5, "day 1/ä.png", 0, 0.5, 0.5)]), prefix)
    assert found[0]["data"]["image"] == "s3://bucket/scans/day 1/ä.png"
    assert found[0]["data"]["key"] == "day 1/ä.png"


def test_the_root_folder_stays_a_root() -> None:
    assert tasks(query([(1, 5, "a.png", 0, 0.5, 0.5)]), "/")[0]["data"]["image"] == "/a.png"


def test_odd_keys_stay_themselves_in_json_and_can_be_read_by_people() -> None:
    assert [task["data"]["key"] for task in tasks(odd(), None)] == ODD_KEYS
    assert "größe/图像 1.png" in _json(odd(), None)


def test_nan_is_null_in_json() -> None:
    assert tasks(query([(1, 5, "a", 0, math.nan, math.nan)]), None)[0]["data"]["confidence"] is None


def test_no_tasks() -> None:
    assert tasks(query([]), None) == []


# ---- the other tools ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["=1+1", "+x", "-5.png", "@eaDir/a", "\tx", "\rx", "'=x", "''=x", "'quoted'", "plain", ""]
)
def test_a_spreadsheet_computes_nothing_and_a_key_comes_back(text: str) -> None:
    written = safe(text)
    assert written[:1] not in set("=+-@\t\r") or not written
    assert unsafe(written) == text


def test_one_task_a_line_keeps_the_order() -> None:
    images = [f"s3://b/{row[2]}" for row in SMALL]
    lines = label_studio_lines(label_studio_tasks(query(SMALL), images, "hacon scans query 2", 2)).splitlines()
    found = [json.loads(line) for line in lines]
    assert [task["data"]["rank"] for task in found] == [1, 2, 3]
    assert found[0]["predictions"] == [
        {"model_version": "hacon scans query 2", "score": 0.0, "cluster": 3, "result": []}
    ]


def test_cvats_manifest_letter_by_letter() -> None:
    text = cvat_manifest(query([(1, 5, "day 1/a.b.png", 3, 0.5, 0.5), (2, 6, "bare", 0, 0.5, 0.5)]), [(8, 9), (10, 11)])
    assert text.splitlines() == [
        '{"version": "1.1"}',
        '{"type": "images"}',
        '{"name": "day 1/a.b", "extension": ".png", "width": 8, "height": 9, '
        '"meta": {"rank": 1, "cluster": 3, "sample_id": 5}}',
        '{"name": "bare", "extension": "", "width": 10, "height": 11, '
        '"meta": {"rank": 2, "cluster": 0, "sample_id": 6}}',
    ]


@pytest.mark.parametrize(
    ("readers", "parts"), [((), [5]), ((2,), [2, 3]), ((2, 3), [2, 3]), ((4, 9), [4, 1]), ((9,), [5])]
)
def test_who_gets_which_of_cvats_images(readers: tuple[int, ...], parts: list[int]) -> None:
    keys = [f"{number}.png" for number in range(5)]
    data = json.loads(cvat_task("scans", keys, readers))["data"]
    assert data["sorting_method"] == "predefined" and data["server_files"] == keys
    assert [len(part) for part in data["job_file_mapping"]] == parts
    assert [key for part in data["job_file_mapping"] for key in part] == keys


def test_coco_has_ranks_for_ids() -> None:
    found = json.loads(coco_images(query(SMALL), [(1, 2)] * 3, "scans"))
    assert [(each["id"], each["file_name"]) for each in found["images"]] == [(row[0], row[2]) for row in SMALL]
    assert found["annotations"] == found["categories"] == []


@pytest.mark.parametrize(("count", "pages"), [(1, 1), (30, 1), (31, 2)])
def test_a_contact_sheet_has_its_pages(count: int, pages: int) -> None:
    images = np.full((count, 9, 7, 1), 128, np.uint8)
    data = contact_sheet_pdf("scans", images, list(range(1, count + 1)), ["größe/" + "x" * 80] * count)
    assert data.startswith(b"%PDF-") and data.count(b"/Type /Page\n") == pages
