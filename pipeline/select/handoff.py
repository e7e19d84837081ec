"""The query as annotation tools read it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline.artifacts import ORDER_SCHEMA


def query_csv(query: pa.Table) -> str:
    """``rank,sample_id,key,cluster,confidence,variability``, one line an image, in order."""
    rows = ([_plain(row[name]) for name in ORDER_SCHEMA.names] for row in query.to_pylist())
    return "".join(_csv_line(row) for row in (ORDER_SCHEMA.names, *rows))


def label_studio_json(query: pa.Table, image_prefix: str | None) -> str:
    """Label Studio's import format: a list of tasks, in order.

    Args:
        image_prefix: put before a key to make the image's address; none: the key is the address.
    """
    tasks = [_task(row, image_prefix) for row in query.to_pylist()]
    return json.dumps(tasks, indent=1, ensure_ascii=False) + "\n"


def _csv_line(values: Sequence[Any]) -> str:
    """The writer is told of CR and LF, so that Python 3.11 quotes either of them in a key; the line ends in LF."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(values)
    return text.getvalue().removesuffix("\r\n") + "\n"


def _task(row: dict[str, Any], image_prefix: str | None) -> dict[str, Any]:
    image = row["key"] if image_prefix is None else f"{image_prefix.rstrip('/')}/{row['key']}"
    facts = {name: row[name] for name in ("rank", "sample_id", "key", "cluster")}
    return {"data": {"image": image, **facts}, "meta": {"confidence": _plain(row["confidence"])}}


def _plain(value: Any) -> Any:
    """A float with nine significant digits; None for not-a-number, which becomes an empty field."""
    if isinstance(value, float):
        return None if value != value else float(f"{value:.9g}")
    return value
