"""A benchmark: shared parts, then trials on Ray Tune, then the paper's tables, under ``runs/<run>/benchmark``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.data.pool import PoolReader
from pipeline.evaluate.cells import FIGURES, Figure, cells, cells_csv
from pipeline.evaluate.files import TRIALS
from pipeline.evaluate.grid import benchmark_specs, published_orders
from pipeline.evaluate.opened import claim_folder
from pipeline.evaluate.pairs import pairs_csv, pairs_table
from pipeline.evaluate.paper import dataset_of
from pipeline.evaluate.spec import TrialSpec
from pipeline.evaluate.tables import CHANCE, HACON, against_table, saved_table, strategy_table
from pipeline.evaluate.trial import TrialResult, run_trial
from pipeline.on_ray.trials import Trials, rows_of, run_missing
from pipeline.paper.data import PaperData
from pipeline.paper.figures import ablation_figures, auc_figures, coverage_figures, sweep_figures
from pipeline.paper.page import picture_files
from pipeline.paper.tables import AGAINST, by_classifier, one_a_query
from pipeline.progress import counted
from pipeline.run import Run
from pipeline.stages.evaluation import Outcome, evaluation_of_run, write_table, write_texts
from pipeline.storage import Location

ROWS = "trials.parquet"
TITLES = {
    "auc": "Macro one-vs-rest AUC, percent",
    "accuracy": "Accuracy, percent",
    "balanced_accuracy": "Balanced accuracy, percent",
    "covered": "Classes covered",
    "entropy": "Entropy of the query's classes, bits",
}
_TABLES = {"auc": 1, "covered": 6}
"""Figure -> number of the paper's table. For AUC on CIFAR-10-LT it is Table 7."""


def benchmark(run: Run) -> Outcome:
    """Run the missing trials of the configured benchmark, then make the tables of all finished trials.

    Raises:
        InputError: impossible settings, or results of other inputs in the same folder.
    """
    config, store = run.config, run.store
    settings = config.benchmark
    evaluation, pool = evaluation_of_run(run, settings)
    orders = published_orders(settings, pool)
    specs = {spec.id: spec for spec in benchmark_specs(config, pool, orders)}
    folder = run.folder("benchmark")
    claim_folder(evaluation, folder)
    # Said in full, since settings that are not given again are those of the last call.
    budgets, uniform = ", ".join(map(str, settings.budgets)), f"uniform {settings.uniform}"
    run.log(
        f"{counted(len(specs), 'trial')} of classifier {settings.classifier}: "
        f"{_counted(specs)}, budgets {budgets}, {uniform}"
    )
    trials = Trials(evaluation, run.folder(TRIALS), specs, run_trial, choices=_only_itself)
    failed = run_missing(trials, orders, settings, run.log)
    rows = rows_of(trials)
    if rows:
        write_tables(store, folder, rows, settings.dataset or dataset_of(pool.source), _chance(PoolReader(store, pool)))
        write_figures(store, f"{folder}/figures", [TrialResult.from_row(row) for row in rows])
    return Outcome(folder, len(rows), failed)


def write_tables(
    store: Location,
    folder: str,
    rows: list[dict[str, Any]],
    dataset: str | None,
    chance: Mapping[Figure, float] = CHANCE,
) -> None:
    """Write trials.parquet, and the tables as Markdown, CSV and LaTeX.

    They are one table a figure, annotation saved, HaCon against the others, and all pairs of strategies. Markdown and
    LaTeX have one table for each classifier.

    Args:
        dataset: the data set whose numbers in the paper are set beside ours.
        chance: figure -> what guessing reaches, in percent.
    """
    store.write_table(f"{folder}/{ROWS}", pa.Table.from_pylist(rows))
    results = [TrialResult.from_row(row) for row in rows]
    for figure in FIGURES:
        table = 7 if (figure, dataset) == ("auc", "cifar10-lt") else _TABLES.get(figure)
        if figure in ("covered", "entropy"):  # depends on the query only, not on the classifier
            made = [strategy_table(TITLES[figure], cells(one_a_query(results), figure, table, dataset))]
        else:
            made = [
                strategy_table(f"{TITLES[figure]}, by {classifier}", cells(trials, figure, table, dataset), chance)
                for classifier, trials in by_classifier(results).items()
            ]
        write_texts(store, f"{folder}/{figure}", made, cells_csv(cells(results, figure, table, dataset)))
    write_table(store, f"{folder}/saved", saved_table(results, dataset))
    compared = {
        figure: cells(one_a_query(results) if figure == "covered" else results, figure) for figure in AGAINST.values()
    }
    against = [against_table(f"HaCon against the others: {title}", compared[name]) for title, name in AGAINST.items()]
    every = [pairs_table(f"All pairs of strategies: {title}", compared[name]) for title, name in AGAINST.items()]
    numbers = pairs_csv(compared)
    write_texts(store, f"{folder}/against", against, _of_hacon(numbers))
    write_texts(store, f"{folder}/pairs", every, numbers)


def _of_hacon(numbers: str) -> str:
    """The lines of a CSV of pairs that have HaCon in them, and its first line."""
    first, *lines = numbers.splitlines(keepends=True)
    return "".join([first, *(line for line in lines if HACON in line)])


def _chance(reader: PoolReader) -> dict[Figure, float]:
    """What guessing reaches on the test split: always the largest class, or any."""
    labels = reader.labels("test")
    counts = np.bincount(labels[labels >= 0]) if labels is not None else np.empty(0)
    if not counts.sum():
        return dict(CHANCE)
    there = np.count_nonzero(counts)
    return {**CHANCE, "accuracy": float(100 * counts.max() / counts.sum()), "balanced_accuracy": 100 / there}


def write_figures(store: Location, folder: str, results: Sequence[TrialResult]) -> None:
    """The curves over the budget, each as PNG, SVG and PDF, named by its title."""
    data = PaperData(
        title="",
        run="",
        auc=auc_figures(results),
        ablations=ablation_figures(results),
        coverage=coverage_figures(results),
        sweep=sweep_figures(results),
    )
    for name, content in picture_files(data):
        store.write_bytes(f"{folder}/{name}", content)


def _counted(specs: dict[str, TrialSpec]) -> str:
    names = {spec.strategy for spec in specs.values()}
    return f"{len(names)} strategies" if len(names) > 1 else f"strategy {min(names)}"


def _only_itself(spec: TrialSpec) -> list[TrialSpec]:
    return [spec]
