"""Active-learning cycles: shared parts, then curves on Ray Tune, then their table, under ``runs/<run>/cycles``."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipeline.evaluate.curves import correlation_table, curves_csv, curves_table
from pipeline.evaluate.cycles import CycleResult, run_cycles
from pipeline.evaluate.files import CURVES
from pipeline.evaluate.grid import choices_of, cycle_specs, published_orders
from pipeline.evaluate.opened import claim_folder
from pipeline.on_ray.trials import Trials, rows_of, run_missing
from pipeline.progress import counted
from pipeline.run import Run
from pipeline.stages.evaluation import Outcome, evaluation_of_run, write_table
from pipeline.storage import Location

TABLE = "curves.parquet"


def cycles(run: Run) -> Outcome:
    """Run the missing curves of the configured cycles, then make the tables of all finished curves.

    Raises:
        InputError: impossible settings, or results of other inputs in the same folder.
    """
    config, store = run.config, run.store
    settings = config.cycles
    evaluation, pool = evaluation_of_run(run, settings)
    orders = published_orders(settings, pool)
    specs = {spec.id: spec for spec in cycle_specs(config, pool, orders)}
    folder = run.folder("cycles")
    claim_folder(evaluation, folder)
    first, later = ", ".join(settings.initial), ", ".join(settings.later)
    sizes = f"{counted(settings.start, 'image')}, {settings.step} more until {settings.end}"
    run.log(
        f"{counted(len(specs), 'curve')} of classifier {settings.classifier}, {sizes}: first {first}; later {later}"
    )
    trials = Trials(evaluation, run.folder(CURVES), specs, run_cycles, choices_of)
    failed = run_missing(trials, orders, settings, run.log)
    rows = rows_of(trials)
    if rows:
        _write(store, folder, rows)
    return Outcome(folder, len(rows), failed)


def _write(store: Location, folder: str, rows: list[dict[str, Any]]) -> None:
    store.write_table(f"{folder}/{TABLE}", pa.Table.from_pylist(rows))
    results = [CycleResult.from_row(row) for row in rows]
    store.write_bytes(f"{folder}/points.csv", curves_csv(results).encode())
    write_table(store, f"{folder}/curves", curves_table(results))
    write_table(store, f"{folder}/correlation", correlation_table(results))
