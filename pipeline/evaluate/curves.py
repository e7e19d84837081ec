"""Curves of active-learning cycles as tables (Figs. 6, 14 to 16)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace

from pipeline.evaluate.cycles import CyclePoint, CycleResult, CycleSpec, by_kind, first_against_last
from pipeline.evaluate.naming import namer
from pipeline.evaluate.paper import CYCLES_R
from pipeline.evaluate.statistics import summarise
from pipeline.evaluate.tables import Table

_SETTINGS = [each.name for each in fields(CycleSpec) if each.name not in ("initial", "later", "seed", "classifier")]


def curves_table(results: Sequence[CycleResult]) -> Table:
    """Rows: first and later strategy; columns: images labelled; a cell: mean and standard deviation of the AUC."""
    groups: dict[CycleSpec, list[CycleResult]] = {}
    for result in results:
        groups.setdefault(replace(result.spec, seed=0), []).append(result)
    name = name_curves(list(by_kind(results)))
    sizes = sorted({point.labelled for result in results for point in result.points})
    rows = []
    for spec, curves in sorted(groups.items(), key=lambda item: (item[0].later, item[0].initial, item[0].id)):
        line = [name(spec), spec.initial + _marks(curves), spec.classifier, str(len(curves))]
        for size in sizes:
            values = [point.auc for curve in curves for point in curve.points if point.labelled == size]
            found = summarise(values) if values else None
            line.append("" if found is None else f"{found.mean:.1f}" + (f" ± {found.std:.1f}" if found.n > 1 else ""))
        rows.append(tuple(line))
    notes = ["Macro one-vs-rest AUC, percent, mean ± standard deviation; a class that is not yet labelled counts 50."]
    if any(result.saw_test for result in results):
        notes.append("† the first query's scorer was trained on the test split's labels, as the paper's.")
    if any(result.oracle for result in results):
        notes.append("‡ an oracle: the pool's hidden labels were used, by the first strategy or the later one.")
    header = ("later strategy", "first strategy", "classifier", "trials", *(f"{size:,}" for size in sizes))
    return Table("Active-learning cycles", header, tuple(rows), tuple(notes))


def correlation_table(results: Sequence[CycleResult]) -> Table:
    """Pearson's r between the first and the last AUC, a row for each later strategy, classifier and setting."""
    kinds = by_kind(results)
    name = name_curves(list(kinds))
    rows = []
    for kind, curves in kinds.items():
        found = first_against_last(curves)
        figures = ("-", "-", "-") if found is None else (f"{found.r:.2f}", f"{found.p:.2g}", str(found.n))
        paper = f"{CYCLES_R[kind.later]:.2f}" if kind.later in CYCLES_R else ""
        rows.append((name(kind), kind.classifier, *figures, str(len(curves)), paper))
    note = (
        "A point is a first query; curves that begin with the same one are one point, with the mean of their last AUC. "
        "Points of one first strategy are not independent, so p is too small."
    )
    header = ("later strategy", "classifier", "r", "p", "points", "curves", "paper's r")
    return Table("First against last AUC", header, tuple(rows), (note,))


def curves_csv(results: Sequence[CycleResult]) -> str:
    """One line a point: what ran, and all figures of ``CyclePoint``."""
    names = [each.name for each in fields(CycleSpec)]
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n")
    write.writerow([*names, *(each.name for each in fields(CyclePoint))])
    for result in results:
        for point in result.points:
            write.writerow([*(getattr(result.spec, name) for name in names), *asdict(point).values()])
    return text.getvalue()


def name_curves(kinds: Sequence[CycleSpec]) -> Callable[[CycleSpec], str]:
    """Curves of one table: the later strategy, with the settings in which its kinds differ."""
    return namer(kinds, lambda kind: kind.later, _SETTINGS)


def _marks(curves: Sequence[CycleResult]) -> str:
    return ("†" if any(each.saw_test for each in curves) else "") + ("‡" if any(each.oracle for each in curves) else "")
