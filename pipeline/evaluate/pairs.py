"""Every strategy against every other: differences, with p-values that allow for how many there are."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from pipeline.evaluate.cells import Cell, Figure
from pipeline.evaluate.statistics import difference_interval, holm, welch
from pipeline.evaluate.tables import DIGITS, Table, by_row, marks, marks_explained, name_rows

_COLUMNS = ("figure", "classifier", "uniform", "budget", "strategy", "minus", "difference", "low", "high", "p", "holm")
LEVEL = 0.05


@dataclass(frozen=True)
class Pair:
    """One strategy minus another of the same kind at one budget. Without an interval where trials are too few."""

    strategy: str
    minus: str
    cell: Cell
    difference: float
    interval: tuple[float, float] | None
    p: float | None
    """Of Welch's test of equal means."""
    holm: float | None = None
    """Holm's: it allows for all pairs and budgets of the table."""


def pairs(of: Sequence[Cell]) -> list[Pair]:
    """All pairs of rows of the same classifier, plain or with label diversity, at every budget where both are whole."""
    rows = by_row(of)
    name = name_rows(list(rows))
    found = []
    for one, two in combinations(rows, 2):
        if (one.uniform, one.classifier) != (two.uniform, two.classifier):
            continue
        for budget in sorted({*rows[one]} & {*rows[two]}):
            first, second = rows[one][budget], rows[two][budget]
            if not (first.complete and second.complete and first.found and second.found):
                continue
            enough = first.interval and second.interval
            found.append(
                Pair(
                    name(one) + marks(one),
                    name(two) + marks(two),
                    first,
                    first.found.mean - second.found.mean,
                    difference_interval(first.values, second.values) if enough else None,
                    welch(first.values, second.values) if enough else None,
                )
            )
    corrected = iter(holm([pair.p for pair in found if pair.p is not None]))
    return [pair if pair.p is None else replace(pair, holm=next(corrected)) for pair in found]


def pairs_table(title: str, of: Sequence[Cell]) -> Table:
    """A row for each pair of strategies, a column for each budget."""
    found = pairs(of)
    budgets = sorted({pair.cell.budget for pair in found})
    lines: dict[tuple[str, str, str], dict[int, Pair]] = {}
    for pair in found:
        key = (pair.strategy, pair.minus, "yes" if pair.cell.row.uniform else "no")
        lines.setdefault(key, {})[pair.cell.budget] = pair
    rows = tuple((*key, *(_text(line.get(budget)) for budget in budgets)) for key, line in lines.items())
    tested = sum(pair.p is not None for pair in found)
    notes = [
        "The first minus the second (p by Welch's test of the trials' means, corrected by Holm for the "
        f"{tested} comparisons of this table); bold: p below {LEVEL}. All trials are of one training, so p says "
        "nothing about another one."
    ]
    if tested < len(found):
        notes.append("Without p: one of the two has fewer than three different queries, or no spread.")
    header = ("strategy", "minus", "Unif.", *(f"{budget:,}" for budget in budgets))
    return Table(title, header, rows, (*notes, *marks_explained([cell.row for cell in of])))


def pairs_csv(of: Mapping[Figure, Sequence[Cell]]) -> str:
    """One line a pair and budget, with the 95% bootstrap interval of the difference."""
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n")
    write.writerow(_COLUMNS)
    for figure, some in of.items():
        for pair in pairs(some):
            row = pair.cell.row
            low, high = pair.interval or (None, None)
            write.writerow(
                (
                    *(figure, row.classifier, row.uniform, pair.cell.budget, pair.strategy, pair.minus),
                    *(pair.difference, low, high, pair.p, pair.holm),
                )
            )
    return text.getvalue()


def _text(pair: Pair | None) -> str:
    if pair is None:
        return ""
    mean = f"{pair.difference:+.{DIGITS[pair.cell.figure]}f}"
    if pair.holm is None:
        return mean
    bold = f"**{mean}**" if pair.holm < LEVEL else mean
    return f"{bold} (p {'< 0.001' if pair.holm < 0.001 else f'= {pair.holm:.3f}'})"
