"""Watching a Ray Data job from the driver: how far it is, in our own lines."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import pyarrow as pa
import ray
import ray.data

from pipeline.progress import Progress


def follow(dataset: ray.data.Dataset, what: str, rows: int, say: Callable[[str], None]) -> None:
    """Run it to its end and say how far it is.

    Args:
        rows: that it will have in all.
    """
    deque(blocks(dataset, what, rows, say), maxlen=0)


def blocks(
    dataset: ray.data.Dataset, what: str, rows: int, say: Callable[[str], None]
) -> Iterator[ray.ObjectRef[pa.Table]]:
    """As ``follow``, with references to its blocks, each of which stays in Ray's object store while it is kept."""
    progress = Progress(what, rows, say)
    for bundle in dataset.iter_internal_ref_bundles():
        yield from bundle.block_refs
        progress.advance(by=bundle.num_rows() or 0)
