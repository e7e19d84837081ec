"""Watching a Ray Data job from the driver: how far it is, in our own lines."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import ray
import ray.data

from pipeline.progress import Progress


def follow(
    dataset: ray.data.Dataset, what: str, rows: int, say: Callable[[str], None]
) -> list[ray.ObjectRef[pa.Table]]:
    """Run it to its end and say how far it is; references to its blocks, which stay in Ray's object store.

    Args:
        rows: that it will have in all.
    """
    progress = Progress(what, rows, say)
    blocks: list[ray.ObjectRef[pa.Table]] = []
    for bundle in dataset.iter_internal_ref_bundles():
        blocks += bundle.block_refs
        progress.advance(by=bundle.num_rows() or 0)
    return blocks
