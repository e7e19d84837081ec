"""The query as Label Studio reads it. Source: Label Studio 1.23, its import formats and storages."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline.handover.addresses import address, leads_elsewhere
from pipeline.handover.spreadsheet import plain


def label_studio_json(tasks: Sequence[dict[str, Any]]) -> str:
    """Tasks as a file to import: a list."""
    return json.dumps(tasks, indent=1, ensure_ascii=False) + "\n"


def label_studio_lines(tasks: Sequence[dict[str, Any]]) -> str:
    """Tasks as a file to synchronise: one a line, which keeps their order."""
    return "".join(json.dumps(task, ensure_ascii=False) + "\n" for task in tasks)


def label_studio_tasks(query: pa.Table, images: Sequence[str], model_version: str, number: int) -> list[dict[str, Any]]:
    """One task an image, in order. All facts are in "data": storage synchronisation drops "meta".

    Each task holds a prediction without a result. Its score is (rank - 1) / N, so that Label Studio's "Uncertainty
    sampling" serves the tasks in their order, from one cluster after another.

    Args:
        images: the address of each image.
        model_version: which predictions belong together; a project is told one of them.
        number: of the query.
    """
    rows = zip(query.to_pylist(), images, strict=True)
    return [_task(row, image, query.num_rows, model_version, number) for row, image in rows]


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


def image_address(key: str, image_prefix: str | None, folder: str | None) -> str:
    """Where a tool finds an image: by the prefix; else below the folder, as it stands; neither: the key alone."""
    if image_prefix is not None:
        return address(image_prefix, key)
    return key if folder is None else f"{folder.rstrip('/')}/{key}"


def _task(row: dict[str, Any], image: str, total: int, model_version: str, number: int) -> dict[str, Any]:
    facts = {name: plain(row[name]) for name in ("rank", "sample_id", "key", "cluster", "confidence")}
    score = (row["rank"] - 1) / total
    prediction = {"model_version": model_version, "score": score, "cluster": row["cluster"], "result": []}
    return {"data": {"image": image, **facts, "query": number}, "predictions": [prediction]}
