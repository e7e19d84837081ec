"""The query as COCO's ``images``: for who reads nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa


def coco_images(query: pa.Table, sizes: Sequence[tuple[int, int]], description: str) -> str:
    """A COCO file without annotations; an image's id is its rank.

    Args:
        sizes: (width, height) of each image's file, in pixels.
    """
    images = [
        {"id": row["rank"], "file_name": row["key"], "width": width, "height": height, "cluster": row["cluster"]}
        for row, (width, height) in zip(query.to_pylist(), sizes, strict=True)
    ]
    found = {
        "info": {"description": description},
        "licenses": [],
        "images": images,
        "annotations": [],
        "categories": [],
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"
