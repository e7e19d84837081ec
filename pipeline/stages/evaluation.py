"""Shared by the benchmark and the active-learning cycles."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.artifacts import PoolManifest, fingerprint
from pipeline.config import TrialsConfig
from pipeline.errors import InputError
from pipeline.evaluate.latex import latex
from pipeline.evaluate.opened import Evaluation, evaluation_of
from pipeline.evaluate.tables import Table
from pipeline.plan import compared_of, trained_of
from pipeline.results import Compared
from pipeline.run import Run
from pipeline.stages.ingest import ingested
from pipeline.storage import Location


@dataclass(frozen=True)
class Outcome:
    """The outcome of a benchmark or of cycles."""

    folder: str
    trials: int
    """Rows on the store, including those of earlier calls."""
    failed: dict[str, str]
    """Trial -> its error in this call."""


def evaluation_of_run(run: Run, settings: TrialsConfig) -> tuple[Evaluation, PoolManifest]:
    """What trials work on.

    Raises:
        InputError: a stage is not finished, or ``evaluation_of`` refuses.
    """
    trained, embedded = trained_of(run), compared_of(run)
    if settings.classifier == "finetune" and trained is None:
        raise InputError(
            "The classifier 'finetune' starts from MoCo's encoder, which this run has not trained; choose another."
        )
    own = trained is not None and embedded.source == "moco" and not isinstance(embedded, Compared)
    # Of version 0.2 there is only this, so what it began goes on.
    weights = (
        trained.weights
        if trained is not None and own
        else fingerprint(embedded.fingerprint, trained.weights if trained else "")
    )
    pool = ingested(run)
    return evaluation_of(run, settings, pool, weights), pool


def write_table(store: Location, name: str, table: Table) -> None:
    """``name``.md, ``name``.csv and ``name``.tex."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.header, *table.rows])
    store.write_bytes(f"{name}.md", table.markdown().encode())
    store.write_bytes(f"{name}.csv", text.getvalue().encode())
    store.write_bytes(f"{name}.tex", latex([table]).encode())


def write_texts(store: Location, name: str, tables: Sequence[Table], rows: str) -> None:
    """Several tables as ``name``.md and ``name``.tex, and their numbers, one line each, as ``name``.csv."""
    store.write_bytes(f"{name}.md", "\n".join(each.markdown() for each in tables).encode())
    store.write_bytes(f"{name}.tex", latex(tables).encode())
    store.write_bytes(f"{name}.csv", rows.encode())
