"""The query as annotation tools read it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline.artifacts import ORDER_SCHEMA
from pipeline.select.addresses import address, leads_elsewhere


def query_csv(query: pa.Table) -> str:
    """``rank,sample_id,key,cluster,confidence,variability``, one line an image, in order."""
    rows = ([_plain(row[name]) for name in ORDER_SCHEMA.names] for row in query.to_pylist())
    return "".join(_csv_line(row) for row in (ORDER_SCHEMA.names, *rows))


def label_studio_json(
    query: pa.Table, image_prefix: str | None, *, folder: str | None = None, model_version: str = "hacon"
) -> str:
    """Label Studio's import format: a list of tasks, in order.

    Each task holds a prediction without a result. Its score is (rank - 1) / N, so that Label Studio's "Uncertainty
    sampling" serves the tasks in their order, from one cluster after another.

    Args:
        image_prefix: makes a key an address (``addresses.address``).
        folder: without a prefix, put before the key as it stands; neither: the key alone.
        model_version: which predictions belong together; a project is told one of them.
    """
    total = query.num_rows
    tasks = [_task(row, _image(row["key"], image_prefix, folder), total, model_version) for row in query.to_pylist()]
    return json.dumps(tasks, indent=1, ensure_ascii=False) + "\n"


def what_to_say_of_addresses(keys: Sequence[str], image_prefix: str | None) -> str | None:
    """What somebody who hands the tasks to Label Studio should know first, or None."""
    if image_prefix is None:
        return (
            "the images have no address that a browser can open, so Label Studio would show none: say where it finds "
            "them with --set query.image_prefix=https://... or '/data/local-files/?d=FOLDER'"
        )
    if lost := [key for key in keys if leads_elsewhere(image_prefix, key)]:
        return (
            f"{len(lost)} of {len(keys)} images, such as {lost[0]!a}, have names that no address below "
            f"'{image_prefix}' leads to: rename them, or serve them over https with query.image_prefix"
        )
    return None


def _csv_line(values: Sequence[Any]) -> str:
    """The writer is told of CR and LF, so that Python 3.11 quotes either of them in a key; the line ends in LF."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(values)
    return text.getvalue().removesuffix("\r\n") + "\n"


def _image(key: str, image_prefix: str | None, folder: str | None) -> str:
    if image_prefix is not None:
        return address(image_prefix, key)
    return key if folder is None else f"{folder.rstrip('/')}/{key}"


def _task(row: dict[str, Any], image: str, total: int, model_version: str) -> dict[str, Any]:
    # All in "data": Label Studio's storage sync drops "meta".
    facts = {name: _plain(row[name]) for name in ("rank", "sample_id", "key", "cluster", "confidence")}
    score = (row["rank"] - 1) / total
    prediction = {"model_version": model_version, "score": score, "cluster": row["cluster"], "result": []}
    return {"data": {"image": image, **facts}, "predictions": [prediction]}


def _plain(value: Any) -> Any:
    """A float with nine significant digits; None for not-a-number, which becomes an empty field."""
    if isinstance(value, float):
        return None if value != value else float(f"{value:.9g}")
    return value
