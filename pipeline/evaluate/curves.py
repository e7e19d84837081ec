"""Curves of active-learning cycles as a table and as lines to draw (Figs. 6, 14 to 16)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields

from pipeline.evaluate.cycles import CyclePoint, CycleResult
from pipeline.evaluate.statistics import summarise
from pipeline.evaluate.tables import Table


def curves_table(results: Sequence[CycleResult]) -> Table:
    """Rows: first and later strategy; columns: images labelled; a cell: mean and standard deviation of the AUC."""
    groups: dict[tuple[str, str, str], list[CycleResult]] = {}
    for result in results:
        spec = result.spec
        groups.setdefault((spec.later, spec.initial, spec.classifier), []).append(result)
    sizes = sorted({point.labelled for result in results for point in result.points})
    rows = []
    for (later, initial, classifier), curves in sorted(groups.items()):
        line = [later, initial + _marks(curves), classifier, str(len(curves))]
        for size in sizes:
            values = [point.auc for curve in curves for point in curve.points if point.labelled == size]
            found = summarise(values) if values else None
            line.append("" if found is None else f"{found.mean:.1f}" + (f" ± {found.std:.1f}" if found.n > 1 else ""))
        rows.append(tuple(line))
    notes = ["Macro one-vs-rest AUC, percent, mean ± standard deviation; a class that is not yet labelled counts 50."]
    if any(result.saw_test for result in results):
        notes.append("† the first query's scorer was trained on the test split's labels, as the paper's.")
    if any(result.oracle for result in results):
        notes.append("‡ an oracle: the first query was made with the pool's hidden labels.")
    header = ("later strategy", "first strategy", "classifier", "trials", *(f"{size:,}" for size in sizes))
    return Table("Active-learning cycles", header, tuple(rows), tuple(notes))


def curves_csv(results: Sequence[CycleResult]) -> str:
    """One line a point: what ran, and all figures of ``CyclePoint``."""
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n")
    write.writerow(["initial", "later", "seed", "classifier", *(each.name for each in fields(CyclePoint))])
    for result in results:
        spec = result.spec
        for point in result.points:
            write.writerow([spec.initial, spec.later, spec.seed, spec.classifier, *asdict(point).values()])
    return text.getvalue()


def _marks(curves: Sequence[CycleResult]) -> str:
    return ("†" if any(each.saw_test for each in curves) else "") + ("‡" if any(each.oracle for each in curves) else "")
