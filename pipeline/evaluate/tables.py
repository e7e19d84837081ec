"""Tables in the form of the paper's 1, 6 and 7, as Markdown: strategies by budgets, the paper's value beside ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from pipeline.evaluate.cells import Cell, cells
from pipeline.evaluate.naming import namer
from pipeline.evaluate.paper import ANNOTATION_SAVED
from pipeline.evaluate.spec import RANDOM_COVERED, TrialSpec
from pipeline.evaluate.statistics import Saved, annotation_saved, difference_interval
from pipeline.evaluate.trial import TrialResult
from pipeline.progress import counted

_VARIANTS = [each.name for each in fields(TrialSpec) if each.name not in ("strategy", "budget", "seed", "uniform")]
"""The settings in which rows of one strategy may differ."""
_DIGITS: dict[str, int] = {"auc": 1, "accuracy": 1, "balanced_accuracy": 1, "covered": 2, "entropy": 2}
_SCORER, _ORACLE = "†", "‡"
HACON = "hard-to-contrast"


@dataclass(frozen=True)
class Table:
    """Text, ready to be laid out."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    def markdown(self) -> str:
        """With its title as a heading and its notes below."""
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        notes = "".join(f"\n{note}  " for note in self.notes)
        return f"### {self.title}\n\n{body}\n{notes}\n"


def strategy_table(title: str, of: Sequence[Cell]) -> Table:
    """Rows: strategies, plain and with oracle label diversity; columns: budgets (Tables 1, 6 and 7).

    A cell: mean, standard deviation, [95% bootstrap interval of the mean], and the paper's value. The best mean of a
    column is bold, for each classifier, and for plain rows and those with label diversity apart. Cells that lack trials
    and rows that are oracles by themselves are never bold.
    """
    budgets = sorted({cell.budget for cell in of})
    by_row = _by_row(of)
    name = _namer(list(by_row))
    best = _best(of)
    rows = []
    for row, line in by_row.items():
        usual = max(cell.trials for cell in line.values())
        texts = [_text(line[budget], line[budget] in best, usual) if budget in line else "" for budget in budgets]
        rows.append((name(row) + _marks(row), "yes" if row.uniform else "no", *texts))
    header = ("strategy", "Unif.", *(f"{budget:,}" for budget in budgets))
    return Table(title, header, tuple(rows), tuple(_notes(of)))


def against_table(title: str, of: Sequence[Cell]) -> Table:
    """HaCon minus every other strategy of the same kind: the mean difference and its 95% bootstrap interval.

    Rows and columns as in ``strategy_table``; bold where the interval leaves out 0.
    """
    by_row = _by_row(of)
    budgets = sorted({cell.budget for cell in of})
    name = _namer(list(by_row))
    rows, shown = [], []
    for row, line in by_row.items():
        ours = by_row.get(replace(row, strategy=HACON, scorer="test"), {})
        if row.strategy == HACON or not ours:
            continue
        texts = [_difference(ours.get(budget), line.get(budget)) for budget in budgets]
        rows.append((name(row) + _marks(row), "yes" if row.uniform else "no", *texts))
        shown.append(row)
    notes = [
        "HaCon minus the other [95% bootstrap interval of the difference]; bold: it leaves out 0. "
        '"-": in one of the two some trial lacks the figure; no interval: one of them is a single query.'
    ]
    header = ("HaCon minus", "Unif.", *(f"{budget:,}" for budget in budgets))
    return Table(title, header, tuple(rows), (*notes, *_marks_explained(shown)))


def saved_table(results: Sequence[TrialResult], dataset: str | None = None) -> Table:
    """Annotation saved against random at equal AUC (``statistics.annotation_saved``), strategy by budget.

    A row with label diversity is compared with random with label diversity. Any other is compared with
    ``random_covered``, as in Table 1. Where that was not measured, the queries of random that cover all classes stand
    for it.
    """
    by_row = _by_row(cells(results, "auc"))
    rows, shown = [], []
    budgets = sorted({cell.budget for line in by_row.values() for cell in line.values() if cell.complete})
    name = _namer(list(by_row))
    for row, line in by_row.items():
        random = _random_of(row, by_row)
        curve = {cell.budget: cell.found.mean for cell in line.values() if cell.complete and cell.found is not None}
        if random is None or random is line or not curve:
            continue
        baseline = {cell.budget: cell.found.mean for cell in random.values() if cell.found is not None}
        saved = {each.budget: each for each in annotation_saved(curve, baseline)}
        texts = [_share(saved[budget]) if budget in saved else "-" for budget in budgets]
        rows.append((name(row) + _marks(row), "yes" if row.uniform else "no", *texts))
        shown.append(row)
    notes = [
        "Share of images that random needs more to reach the same mean AUC; negative: it needs fewer. Random's queries "
        "cover all classes, as in Table 1; rows with Unif. are set beside random with Unif."
    ]
    if dataset in ANNOTATION_SAVED:
        notes.append(f"The paper's HaCon, early on: {100 * ANNOTATION_SAVED[dataset]:.0f}%; it gives no formula.")
    header = ("strategy", "Unif.", *(f"{budget:,}" for budget in budgets))
    return Table("Annotation saved against random", header, tuple(rows), (*notes, *_marks_explained(shown)))


def _by_row(of: Sequence[Cell]) -> dict[TrialSpec, dict[int, Cell]]:
    """Row -> budget -> cell, in the order of the cells."""
    found: dict[TrialSpec, dict[int, Cell]] = {}
    for cell in of:
        found.setdefault(cell.row, {})[cell.budget] = cell
    return found


def _difference(ours: Cell | None, other: Cell | None) -> str:
    if ours is None or other is None:
        return ""
    if not (ours.complete and other.complete and ours.found and other.found):
        return "-"
    mean = f"{ours.found.mean - other.found.mean:+.{_DIGITS[ours.figure]}f}"
    if ours.queries == 1 or other.queries == 1:  # what spread it has is the classifier's alone
        return mean
    low, high = difference_interval(ours.values, other.values)
    bold = f"**{mean}**" if low > 0 or high < 0 else mean
    return f"{bold} [{low:+.{_DIGITS[ours.figure]}f}, {high:+.{_DIGITS[ours.figure]}f}]"


def _best(of: Sequence[Cell]) -> list[Cell]:
    """The cells whose mean no other of their column and kind beats."""
    contest: dict[tuple[int, bool, str], list[tuple[float, Cell]]] = {}
    for cell in of:
        if cell.complete and cell.found is not None and not cell.row.by_itself_an_oracle:
            kind = (cell.budget, cell.row.uniform, cell.row.classifier)
            contest.setdefault(kind, []).append((cell.found.mean, cell))
    return [cell for group in contest.values() for mean, cell in group if mean == max(mean for mean, _ in group)]


def _namer(rows: Sequence[TrialSpec]) -> Callable[[TrialSpec], str]:
    return namer(rows, lambda row: row.strategy, _VARIANTS)


def _marks(row: TrialSpec) -> str:
    return (_SCORER if row.saw_test_labels else "") + (_ORACLE if row.is_oracle else "")


def _marks_explained(rows: Sequence[TrialSpec]) -> list[str]:
    notes = []
    if any(row.saw_test_labels for row in rows):
        notes.append(f"{_SCORER} its scorer was trained on the test split's labels, as the paper's.")
    if any(row.is_oracle for row in rows):
        notes.append(f"{_ORACLE} an oracle: the query was made with the pool's hidden labels.")
    return notes


def _text(cell: Cell, best: bool, usual: int) -> str:
    """A cell's text. ``usual``: trials of the row's other cells."""
    digits = _DIGITS[cell.figure]
    found = cell.found
    ours = "-"
    if found is not None:
        mean = f"{found.mean:.{digits}f}"
        ours = f"**{mean}**" if best else mean
        if cell.spread:
            ours += f" ± {found.std:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"
        if not cell.complete:
            ours += f" ({found.n} of {cell.trials})"
    if cell.trials < usual:
        ours += f" ({counted(cell.trials, 'trial')})"
    if cell.queries < cell.trials:
        ours += f" ({cell.queries} {'query' if cell.queries == 1 else 'queries'})"
    if cell.paper is None:
        return ours
    paper = "-" if cell.paper.mean is None else f"{cell.paper.mean:.{digits}f}"
    spread = "" if cell.paper.std is None else f" ± {cell.paper.std:.{digits}f}"
    return f"{ours}; paper {paper}{spread}"


def _notes(of: Sequence[Cell]) -> list[str]:
    if not of:
        return []
    trials = sorted({cell.trials for cell in of})
    count = str(trials[0]) if len(trials) == 1 else f"{trials[0]} to {trials[-1]}"
    notes = [
        f"Mean ± standard deviation [95% bootstrap interval of the mean] of {count} "
        f"{'trial' if count == '1' else 'trials'}; bold: the best mean of "
        "its column, rows with and without Unif. apart, but for orders that are oracles themselves."
    ]
    if any(cell.found is None for cell in of):
        notes.append('"-": a class is missing from the query in every trial.')
    if any(cell.found is not None and not cell.complete for cell in of):
        notes.append('"(n of m)": a class is missing in the others; the mean of n is not compared with other cells.')
    if any(cell.queries < cell.trials for cell in of):
        notes.append('"(1 query)": whatever the seed, the trials asked for the same images; of one there is no spread.')
    short = [f"{low} of {budget:,}" for budget in sorted({cell.budget for cell in of}) if (low := _fewest(of, budget))]
    if short:
        notes.append(
            f"Queries with Unif. have fewer images than the budget ({', '.join(short)} at the least) where there are "
            "too few of a class: as in the authors' code, the others do not make up for it."
        )
    return [*notes, *_marks_explained([cell.row for cell in of])]


def _fewest(of: Sequence[Cell], budget: int) -> int:
    """Images of the smallest query with label diversity that is below its budget; 0 where none is."""
    return min((cell.fewest for cell in of if cell.row.uniform and cell.budget == budget > cell.fewest), default=0)


def _random_of(row: TrialSpec, by_row: dict[TrialSpec, dict[int, Cell]]) -> dict[int, Cell] | None:
    """Random's line under the same classifier, with label diversity where the row has it."""
    for name in ("random",) if row.uniform else (RANDOM_COVERED, "random"):
        for other, line in by_row.items():
            same = (other.strategy, other.uniform, other.classifier) == (name, row.uniform, row.classifier)
            if same and any(cell.found is not None for cell in line.values()):
                return line
    return None


def _share(saved: Saved) -> str:
    bound = {"exactly": "", "at least": "≥ ", "at most": "≤ "}[saved.bound]
    return f"{bound}{100 * saved.share:.0f}%"
