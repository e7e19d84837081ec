"""The figures of trials and curves, as the page of the paper's tables and figures takes them. Pure: no Ray, no store.

They are made here because they join ``evaluate`` and ``report``, which may not see each other. C = classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluate.cells import Cell, Figure, cells
from pipeline.evaluate.coverage import entropy_bits
from pipeline.evaluate.curves import name_curves
from pipeline.evaluate.cycles import CycleResult, by_kind, first_against_last
from pipeline.evaluate.naming import namer
from pipeline.evaluate.paper import CYCLES_R
from pipeline.evaluate.spec import RANDOM_COVERED, TrialSpec
from pipeline.evaluate.statistics import summarise
from pipeline.evaluate.tables import HACON
from pipeline.evaluate.trial import TrialResult
from pipeline.paper.commands import ABLATIONS, SWEPT
from pipeline.paper.data import Curve, CurveFigure, CyclesFigure, LabelBar, LabelFigure, Panel
from pipeline.paper.tables import by_classifier, one_a_query, usual_k
from pipeline.select import STRATEGIES
from pipeline.select.registry import FAMILIES

CHANCE = ("random", RANDOM_COVERED)
MOST_LABEL_FIGURES = 4
AUC, COVERED = "AUC (%)", "classes covered (share)"
UNIFORM = "Unif.: an oracle takes equally from each true class, in each strategy's order."
_MOST = {AUC: 100.0, COVERED: 1.0}
_BOTH: tuple[tuple[str, Figure], ...] = ((AUC, "auc"), (COVERED, "covered"))


def auc_figures(results: Sequence[TrialResult]) -> tuple[CurveFigure, ...]:
    """AUC by budget, family by family, plain and with the oracle's label diversity (Figs. 5, 7)."""
    figures = []
    several = len(by_classifier(results)) > 1
    for classifier, trials in by_classifier(usual_k(results)).items():
        found = cells(trials, "auc")
        aside = f", by {classifier}" if several else ""
        for uniform in (False, True):
            some = [cell for cell in found if cell.row.uniform == uniform]
            note = f"Classifier: {classifier}." + (f" {UNIFORM}" if uniform else "")
            for title, names in {**_families(), "Other orders": _others(some)}.items():
                family = [cell for cell in some if cell.row.strategy in (*CHANCE, HACON, *names)]
                figures += _family(f"{title}{', Unif.' if uniform else ''}{aside}", family, names, note)
    return tuple(figures)


def ablation_figures(results: Sequence[TrialResult]) -> tuple[CurveFigure, ...]:
    """HaCon, what lacks one of its parts, and chance (Fig. 3); none where only one of them was measured."""
    figures = []
    for classifier, trials in by_classifier(usual_k(results)).items():
        some = [trial for trial in trials if trial.spec.strategy in ABLATIONS and not trial.spec.uniform]
        if len({trial.spec.strategy for trial in some} - {"random"}) < 2:
            continue
        panels = tuple(_ablations(label, cells(some, figure)) for label, figure in _BOTH)
        shown = tuple(panel for panel in panels if panel.curves)
        figures.append(CurveFigure("Ablations of HaCon", shown, f"Classifier: {classifier}."))
    return tuple(figures)


def coverage_figures(results: Sequence[TrialResult]) -> tuple[CurveFigure, ...]:
    """Classes covered by budget, family by family (Fig. 10)."""
    found = [cell for cell in cells(one_a_query(usual_k(results)), "covered") if not cell.row.uniform]
    figures = []
    for title, names in {**_families(), "Ablations": tuple(ABLATIONS), "Other orders": _others(found)}.items():
        some = [cell for cell in found if cell.row.strategy in ("random", HACON, *names)]
        figures += _family(f"Classes covered: {title[0].lower()}{title[1:]}", some, names, "", COVERED)
    return tuple(figures)


def sweep_figures(results: Sequence[TrialResult]) -> tuple[CurveFigure, ...]:
    """HaCon by the number of clusters, one line a budget (Fig. 17); none without two values of K at one budget."""
    figures = []
    for classifier, trials in by_classifier(results).items():
        some = [trial for trial in trials if trial.spec.strategy == SWEPT and not trial.spec.uniform]
        panels = tuple(_swept(label, cells(some, figure)) for label, figure in reversed(_BOTH))
        shown = tuple(panel for panel in panels if panel.curves)
        if shown:
            figures.append(CurveFigure("HaCon by the number of clusters", shown, f"Classifier: {classifier}."))
    return tuple(figures)


def label_figures(
    results: Sequence[TrialResult], labels: NDArray[np.integer[Any]], classes: int
) -> tuple[LabelFigure, ...]:
    """Classes of the queries, strategy by strategy, for the smallest budgets (Figs. 2, 8, 11).

    Args:
        labels: (N,) of the pool, by sample id; -1 = unknown.
    """
    plain = [result for result in one_a_query(usual_k(results)) if not result.spec.uniform]
    pool = np.bincount(labels[labels >= 0], minlength=classes)
    of_pool = LabelBar("the pool", tuple(pool.tolist()), _remark((pool > 0).sum(), classes, entropy_bits(labels)))
    figures = []
    for budget in sorted({result.spec.budget for result in plain})[:MOST_LABEL_FIGURES]:
        groups: dict[TrialSpec, list[TrialResult]] = {}
        for result in sorted(plain, key=lambda each: _place(each.spec.strategy)):
            if result.spec.budget == budget:
                groups.setdefault(replace(result.spec, seed=0), []).append(result)
        name = _namer(list(groups))
        bars = [LabelBar(name(row), *_labels_of(trials, labels, classes)) for row, trials in groups.items()]
        figures.append(LabelFigure(budget, (of_pool, *bars)))
    return tuple(figures)


def cycle_figures(results: Sequence[CycleResult]) -> tuple[CyclesFigure, ...]:
    """One for each later strategy (Figs. 6, 14 to 16)."""
    figures = []
    several = len(by_classifier(results)) > 1
    kinds = by_kind(results)
    title = name_curves(list(kinds))
    for kind, curves in kinds.items():
        initial = sorted({curve.spec.initial for curve in curves}, key=_place)
        groups = {name: [curve for curve in curves if curve.spec.initial == name] for name in initial}
        found = first_against_last(curves)
        pairs = {
            name: tuple((each.points[0].auc, each.points[-1].auc) for each in group) for name, group in groups.items()
        }
        figures.append(
            CyclesFigure(
                f"{title(kind)}, by {kind.classifier}" if several else title(kind),
                tuple(_cycle_curve(name, group) for name, group in groups.items()),
                pairs,
                None if found is None else found.r,
                None if found is None else found.p,
                0 if found is None else found.n,
                CYCLES_R.get(kind.later),
            )
        )
    return tuple(figures)


def _families() -> dict[str, tuple[str, ...]]:
    """By title: Fig. 5, Fig. 7 and what is younger than the paper; each is drawn with HaCon and chance."""
    names: dict[str, tuple[str, ...]] = {}
    for name, each in STRATEGIES.items():
        if each.family not in ("ablation", "other") and name not in (*CHANCE, HACON):
            title = FAMILIES[each.family]
            names[title] = (*names.get(title, ()), name)
    return names


def _others(found: Sequence[Cell]) -> tuple[str, ...]:
    """Strategies that no family names: of new ones, and published orders."""
    named = {*CHANCE, *ABLATIONS, *(name for names in _families().values() for name in names)}
    return tuple(dict.fromkeys(cell.row.strategy for cell in found if cell.row.strategy not in named))


def _family(title: str, of: Sequence[Cell], names: Sequence[str], note: str, label: str = AUC) -> list[CurveFigure]:
    """The figure, unless none of those that it is about has a point."""
    name = _namer([cell.row for cell in of])
    made = _curves(of, lambda cell: name(cell.row))
    own = {cell.row.strategy for cell in of if cell.complete} & {*names}
    return [CurveFigure(title, (Panel(label, made, _MOST[label]),), note)] if own else []


def _ablations(label: str, of: Sequence[Cell]) -> Panel:
    order = tuple(ABLATIONS)
    name = _namer([cell.row for cell in of])
    ordered = sorted(of, key=lambda cell: order.index(cell.row.strategy))
    curves = _curves(ordered, lambda cell: name(cell.row).replace(cell.row.strategy, ABLATIONS[cell.row.strategy], 1))
    return Panel(label, curves, _MOST[label])


def _curves(of: Sequence[Cell], name: Callable[[Cell], str]) -> tuple[Curve, ...]:
    """One for each name, over the budgets at which every trial has the figure; random where any has."""
    partly = {cell.row for cell in of if cell.row.strategy == "random" and cell.found is not None and not cell.complete}
    groups: dict[str, list[Cell]] = {}
    for cell in of:
        # Random's queries that happen to cover all classes are what ``random_covered`` draws: no selection of the good.
        if cell.row in partly and cell.found is not None:
            groups.setdefault(f"{name(cell)}, where it covers", []).append(cell)
        elif cell.complete:
            groups.setdefault(name(cell), []).append(cell)
    return tuple(_curve(each, [(cell.budget, cell) for cell in group]) for each, group in groups.items())


def _curve(name: str, points: Sequence[tuple[float, Cell]]) -> Curve:
    ordered = sorted(points, key=lambda point: point[0])
    found = [cell.found for _, cell in ordered if cell.found is not None]
    return Curve(
        name, tuple(x for x, _ in ordered), tuple(each.mean for each in found), tuple(each.std for each in found)
    )


def _swept(label: str, of: Sequence[Cell]) -> Panel:
    temperatures = {cell.row.temperature for cell in of}
    groups: dict[str, dict[float, Cell]] = {}
    for cell in sorted(of, key=lambda cell: cell.budget):
        tau = f", tau {cell.row.temperature:g}" if len(temperatures) > 1 else ""
        k = replace(cell.row, budget=cell.budget).clusters
        if cell.complete:
            groups.setdefault(f"{cell.budget:,} images{tau}", {}).setdefault(k, cell)
    curves = tuple(_curve(name, list(at.items())) for name, at in groups.items() if len(at) > 1)
    return Panel(label, curves, _MOST[label])


def _namer(rows: Sequence[TrialSpec]) -> Callable[[TrialSpec], str]:
    return namer(rows, lambda row: row.strategy, ("scorer", "k", "temperature"))


def _labels_of(
    trials: Sequence[TrialResult], labels: NDArray[np.integer[Any]], classes: int
) -> tuple[tuple[float, ...], str]:
    """Mean images of each class, and in words what was covered."""
    counts = np.zeros(classes)
    for trial in trials:
        picked = labels[np.array(trial.ids)]
        counts += np.bincount(picked[picked >= 0], minlength=classes)
    covered = summarise([trial.covered for trial in trials]).mean * classes
    entropy = summarise([trial.entropy for trial in trials]).mean
    return tuple((counts / len(trials)).tolist()), _remark(covered, classes, entropy)


def _remark(covered: float, classes: int, entropy: float) -> str:
    return f"{covered:.1f}/{classes}  {entropy:.2f}"


def _cycle_curve(name: str, curves: Sequence[CycleResult]) -> Curve:
    sizes = sorted({point.labelled for curve in curves for point in curve.points})
    found = [
        summarise([point.auc for curve in curves for point in curve.points if point.labelled == size]) for size in sizes
    ]
    return Curve(name, tuple(sizes), tuple(each.mean for each in found), tuple(each.std for each in found))


def _place(name: str) -> tuple[int, str]:
    names = [RANDOM_COVERED, *STRATEGIES]
    return (names.index(name) if name in names else len(names), name)
