"""The query as CVAT reads it: a manifest 1.1 for its cloud storages, and the task's settings.

Source: CVAT 2.80, "Dataset manifest" and ``/api/tasks`` (docs.cvat.ai).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa


def cvat_manifest(query: pa.Table, sizes: Sequence[tuple[int, int]]) -> str:
    """One line an image, in the order to label them, without an empty line.

    Args:
        sizes: (width, height) of each image's file, in pixels.
    """
    lines: list[dict[str, Any]] = [{"version": "1.1"}, {"type": "images"}]
    for row, (width, height) in zip(query.to_pylist(), sizes, strict=True):
        name, dot, suffix = row["key"].rpartition(".")
        named = {"name": name, "extension": f".{suffix}"} if dot else {"name": row["key"], "extension": ""}
        meta = {"rank": row["rank"], "cluster": row["cluster"], "sample_id": row["sample_id"]}
        lines.append({**named, "width": width, "height": height, "meta": meta})
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def cvat_task(name: str, keys: Sequence[str], readers: Sequence[int] = ()) -> str:
    """The body of a task whose images stay in this order, and who gets which: the first 20 to reader A, and so on.

    Args:
        readers: how many images each reader gets, in order; the last gets the rest. Empty: one job of all.
    """
    parts: list[list[str]] = []
    at = 0
    for count in readers:
        parts.append(list(keys[at : at + count]))
        at += count
    if at < len(keys):
        parts.append(list(keys[at:]))
    task = {
        "name": name,
        "labels": [],
        "data": {
            "image_quality": 100,
            "sorting_method": "predefined",
            "use_cache": True,
            "server_files": list(keys),
            "job_file_mapping": [part for part in parts if part],
        },
    }
    return json.dumps(task, indent=1, ensure_ascii=False) + "\n"
