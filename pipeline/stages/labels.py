"""Labels that came back: numbered batches beside the run, of which a query learns only *that* an image is labelled."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from pipeline.storage import Location


def labels_folder(run: str) -> str:
    """Where a run keeps its batches of labels."""
    return f"runs/{run}/labels"


def batches_after(store: Location, run: str, number: int) -> Iterator[tuple[int, pa.Table]]:
    """The batches with a higher number, in order: columns key and status, never the label."""
    for name, _, _ in store.files(labels_folder(run)):
        found = name.removesuffix(".parquet")
        if found != name and found.isdigit() and int(found) > number:
            yield int(found), store.read_table(f"{labels_folder(run)}/{name}", columns=["key", "status"])
