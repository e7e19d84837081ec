"""The tables of trials and curves, as the page of the paper's tables and figures takes them. Pure: no Ray, no store.

They are made here because they join ``evaluate`` and ``report``, which may not see each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipeline.evaluate.cells import Figure, cells
from pipeline.evaluate.curves import correlation_table
from pipeline.evaluate.cycles import CycleResult
from pipeline.evaluate.pairs import pairs_table
from pipeline.evaluate.spec import TrialSpec
from pipeline.evaluate.tables import Table, against_table, saved_table, strategy_table
from pipeline.evaluate.trial import TrialResult
from pipeline.paper.data import PaperTable

AGAINST: dict[str, Figure] = {
    "AUC in percent": "auc",
    "balanced accuracy in percent": "balanced_accuracy",
    "share of the classes covered": "covered",
}


def benchmark_tables(
    results: Sequence[TrialResult], dataset: str | None, command: str, sweep: str
) -> tuple[PaperTable, ...]:
    """Tables 1 or 7 and the annotation saved for each classifier, Table 6, and the minor figures.

    Args:
        dataset: whose numbers of the paper are set beside ours.
        command: what made the trials. sweep: what made those of a sweep of K.
    """
    if not results:
        return ()
    number = 7 if dataset == "cifar10-lt" else 1
    usual = usual_k(results)
    tables = []
    for classifier, trials in by_classifier(usual).items():
        # What stands after "; " is of the one trial, and hundreds of them are no footnote.
        notes = tuple(dict.fromkeys(trial.note.partition("; ")[0] for trial in trials if trial.note))
        made = strategy_table(f"Table {number}: AUC in percent, by {classifier}", cells(trials, "auc", number, dataset))
        tables.append(_laid_out(made, command, notes))
        saved = saved_table(trials, dataset)
        if saved.rows:
            tables.append(_laid_out(saved, command, (f"Classifier: {classifier}.",)))
    queries = one_a_query(usual)
    covered = strategy_table("Table 6: share of the classes covered", cells(queries, "covered", 6, dataset))
    tables.append(_laid_out(covered, command))
    tables.append(_minor("Entropy of the classes, in bits", queries, "entropy", command))
    for classifier, trials in by_classifier(usual).items():
        tables.append(_minor(f"Accuracy in percent, by {classifier}", trials, "accuracy", command))
        tables.append(_minor(f"Balanced accuracy in percent, by {classifier}", trials, "balanced_accuracy", command))
        for title, figure in AGAINST.items():
            found = cells(trials, figure)
            for table in (
                against_table(f"HaCon against the others: {title}, by {classifier}", found),
                pairs_table(f"All pairs of strategies: {title}, by {classifier}", found),
            ):
                if table.rows:
                    tables.append(_laid_out(table, command, minor=True))
    if len(usual) < len(results):
        swept = {result.spec.strategy for result in results if result.spec.k != usual[0].spec.k}
        some = [result for result in results if result.spec.strategy in swept]
        tables.append(_minor("By the number of clusters: share of the classes covered", some, "covered", sweep))
        tables.append(_minor("By the number of clusters: AUC in percent", some, "auc", sweep))
    return tuple(tables)


def cycle_tables(results: Sequence[CycleResult], command: str) -> tuple[PaperTable, ...]:
    """Pearson's r between first and last AUC, beside the paper's."""
    return (_laid_out(correlation_table(results), command),) if results else ()


def one_a_query(results: Sequence[TrialResult]) -> list[TrialResult]:
    """Each query once, however many classifiers learned from it: for what does not depend on them."""
    # An honest scorer is of the classifier's kind, so its query is another one for each.
    found: dict[TrialSpec, TrialResult] = {}
    for result in results:
        spec = result.spec
        shared = spec if spec.scorer == "labelled" else replace(spec, classifier=results[0].spec.classifier)
        found.setdefault(shared, replace(result, spec=shared))
    return list(found.values())


def usual_k(results: Sequence[TrialResult]) -> list[TrialResult]:
    """Without what was made for a sweep of K: those of the K that most trials have."""
    ks = [result.spec.k for result in results]
    usual = max(dict.fromkeys(ks), key=ks.count, default=None)
    return [result for result in results if result.spec.k == usual]


def by_classifier(results: Sequence[Any]) -> dict[str, list[Any]]:
    """Trials or curves, in the order in which their classifiers come."""
    groups: dict[str, list[Any]] = {}
    for result in results:
        groups.setdefault(result.spec.classifier, []).append(result)
    return groups


def _laid_out(table: Table, command: str, notes: tuple[str, ...] = (), minor: bool = False) -> PaperTable:
    return PaperTable(table.title, table.header, table.rows, (*table.notes, *notes), command, minor)


def _minor(title: str, results: Sequence[TrialResult], figure: Figure, command: str) -> PaperTable:
    return _laid_out(strategy_table(title, cells(results, figure)), command, minor=True)
