"""Progress of a Ray Data job, reported by the driver."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import pyarrow as pa
import ray
import ray.data

from pipeline.progress import Progress


def follow(dataset: ray.data.Dataset, what: str, rows: int, say: Callable[[str], None]) -> None:
    """Run the job to its end and report progress.

    Args:
        rows: its total number of rows.
    """
    deque(blocks(dataset, what, rows, say), maxlen=0)


def blocks(
    dataset: ray.data.Dataset, what: str, rows: int, say: Callable[[str], None]
) -> Iterator[ray.ObjectRef[pa.Table]]:
    """As ``follow``, but yields references to its blocks. A block stays in Ray's object store while referenced."""
    progress = Progress(what, rows, say)
    for bundle in dataset.iter_internal_ref_bundles():
        yield from bundle.block_refs
        progress.advance(by=bundle.num_rows() or 0)
