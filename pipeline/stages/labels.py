"""Labels that come back: numbered batches beside the run. A query learns only *that* an image is labelled.

``runs/<run>/labels/0001.json`` says where a batch lies and what came in it. It is written once, so of two jobs that
bring labels at the same time each gets a number of its own.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.annotations import CONTRADICTED, LABELLED, SKIPPED, Settled, read_answers, read_folder, settle
from pipeline.annotations.readers import Returned
from pipeline.annotations.settle import counts_of
from pipeline.config import RunConfig, override
from pipeline.data.labels import Cleaner, Table
from pipeline.errors import InputError
from pipeline.progress import counted
from pipeline.run import Run, saved_config
from pipeline.stages.archive import known
from pipeline.stages.tables import table_csv
from pipeline.storage import Location

LABELS_SCHEMA = pa.schema(
    [
        ("key", pa.large_string()),
        ("status", pa.string()),
        ("label", pa.large_string()),
        ("annotators", pa.int32()),
        ("agreement", pa.float64()),
    ]
)
"""One row an image; ``pipeline.annotations.settle.Outcome`` says what the columns mean."""


@dataclass(frozen=True)
class Brought:
    """What a job brought."""

    number: int | None
    """Of the batch; None: these very files were brought before."""
    settled: Settled
    lists: tuple[str, ...]
    """Files on the store that list what could not be used."""


def labels_folder(run: str) -> str:
    """Where a run keeps its batches of labels."""
    return f"runs/{run}/labels"


def run_of(store: Location, name: str, log: Callable[[str], None]) -> Run:
    """The run as it was saved.

    Raises:
        InputError: there is none.
    """
    saved = saved_config(store, name)
    if saved is None:
        raise InputError(f"There is no run '{name}' on '{store.show()}'; check --run and --store.")
    return Run(override(RunConfig(), saved), store, log)


def bring_labels(
    run: Run, files: Sequence[str], key_column: str | None = None, label_column: str | None = None
) -> Brought:
    """Read what annotators gave back, settle it, and keep it as a batch.

    Raises:
        InputError: a file that cannot be read so, or none of whose keys is the run's.
    """
    clean = Cleaner(run.config.ingest.no_label)
    digests, returned = [], []
    for name in files:
        digest, found = _read(name, clean, key_column, label_column)
        digests.append(digest)
        returned.append(found)
        run.log(f"{name}: {found.format}; {counted(len(found.answers), 'answer')}")
    keys = [row["key"] for row in known(run).files.select(["key"]).to_pylist()]
    answers = [answer for each in returned for answer in each.answers]
    settled = settle(answers, keys)
    if not settled.outcomes and settled.unknown:
        written, closest = settled.unknown[0]
        hint = f", the closest key is '{closest}'" if closest else ""
        raise InputError(
            f"None of {counted(len(settled.unknown), 'key')} in '{files[0]}' is of run '{run.config.run}' (such as "
            f"'{written}'{hint}); check --run and --key-column."
        )
    before = [digest for _, told in _batches(run.store, run.config.run) for digest in told["sources"]]
    if set(digests) <= set(before):
        return Brought(None, settled, ())
    return _keep(run, settled, digests)


def batches_after(store: Location, run: str, number: int) -> Iterator[tuple[int, pa.Table]]:
    """The batches with a higher number, in order: columns key and status, never the label."""
    for found, told in _batches(store, run, number):
        yield found, store.read_table(f"{labels_folder(run)}/{told['file']}", columns=["key", "status"])


def labels_of(store: Location, run: str) -> dict[str, str]:
    """Key -> label, of the last batch that has one. For evaluation and advice, never for a query."""
    found: dict[str, str] = {}
    for _, told in _batches(store, run):
        table = store.read_table(f"{labels_folder(run)}/{told['file']}")
        for row in table.to_pylist():
            found.pop(row["key"], None)
            if row["status"] == LABELLED:
                found[row["key"]] = row["label"]
    return found


def _batches(store: Location, run: str, after: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    for name, _, _ in store.files(labels_folder(run)):
        number, _, suffix = name.partition(".")
        if suffix == "json" and number.isdigit() and int(number) > after:
            yield int(number), store.read_json(f"{labels_folder(run)}/{name}")


def _read(name: str, clean: Cleaner, key_column: str | None, label_column: str | None) -> tuple[str, Returned]:
    """(SHA-256 of the content, answers)."""
    if os.path.isdir(name):
        keys = [key for key, _, _ in Location(name).files()]
        return hashlib.sha256("\0".join(keys).encode()).hexdigest(), read_folder(keys, clean)
    folder, slash, file = name.rpartition("/")
    location = Location(folder or slash or ".")
    if not location.is_file(file):
        raise InputError(f"There is no file or folder '{name}'; check --from.")
    data = location.read_bytes(file)
    return hashlib.sha256(data).hexdigest(), read_answers(Table(name, data), clean, key_column, label_column)


def _keep(run: Run, settled: Settled, digests: list[str]) -> Brought:
    store, folder = run.store, labels_folder(run.config.run)
    file = f"batch-{uuid.uuid4().hex[:8]}"
    rows = [
        {name: getattr(each, name) for name in LABELS_SCHEMA.names}
        for each in sorted(settled.outcomes, key=lambda each: each.key)
    ]
    store.write_table(f"{folder}/{file}.parquet", pa.Table.from_pylist(rows, LABELS_SCHEMA))
    lists = []
    for what, columns, found in (
        ("unknown", ("key", "closest"), settled.unknown),
        ("contradictions", ("key", "answers"), settled.contradictions),
    ):
        if found:
            lists.append(f"{folder}/{file}-{what}.csv")
            store.write_bytes(lists[-1], table_csv(columns, found))
    counts = counts_of(settled)
    told = {
        "file": f"{file}.parquet",
        "sources": digests,
        "counts": {status: counts.get(status, 0) for status in (LABELLED, SKIPPED, CONTRADICTED)},
        "unknown": len(settled.unknown),
        "agreement": settled.agreement,
        "alpha": settled.alpha,
    }
    number = max((number for number, _ in _batches(store, run.config.run)), default=0) + 1
    while not store.put_if_absent(f"{folder}/{number:04d}.json", told):
        number += 1
    return Brought(number, settled, tuple(lists))
