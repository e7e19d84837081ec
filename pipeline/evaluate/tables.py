"""Tables in the form of the paper's 1, 6 and 7, as Markdown: strategies by budgets, the paper's value beside ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from pipeline.evaluate.cells import Cell, cells
from pipeline.evaluate.paper import ANNOTATION_SAVED, CYCLES_R
from pipeline.evaluate.spec import RANDOM_COVERED, TrialSpec
from pipeline.evaluate.statistics import Correlation, Saved, annotation_saved
from pipeline.evaluate.trial import TrialResult

_DIGITS: dict[str, int] = {"auc": 1, "accuracy": 1, "balanced_accuracy": 1, "covered": 2, "entropy": 2}
_SCORER, _ORACLE = "†", "‡"


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
    column is bold, among plain rows and among those with label diversity apart; of cells that lack trials and
    of rows that are oracles by themselves none is.
    """
    budgets = sorted({cell.budget for cell in of})
    by_row: dict[TrialSpec, dict[int, Cell]] = {}
    for cell in of:
        by_row.setdefault(cell.row, {})[cell.budget] = cell
    variants = _variants(list(by_row))
    best = _best(of)
    rows = [
        (
            _label(row, variants) + _marks(list(line.values())),
            "yes" if row.uniform else "no",
            *(_text(line[budget], line[budget] in best) if budget in line else "" for budget in budgets),
        )
        for row, line in by_row.items()
    ]
    header = ("strategy", "Unif.", *(f"{budget:,}" for budget in budgets))
    return Table(title, header, tuple(rows), tuple(_notes(of)))


def saved_table(results: Sequence[TrialResult], dataset: str | None = None) -> Table:
    """Annotation saved against random at equal AUC (``statistics.annotation_saved``), strategy by budget.

    Random is ``random_covered``, as in Table 1, where it was measured, else ``random`` where all trials covered.
    """
    means: dict[TrialSpec, dict[int, float]] = {}
    for cell in cells(results, "auc"):
        if cell.complete and cell.found is not None:
            means.setdefault(cell.row, {})[cell.budget] = cell.found.mean
    rows, budgets = [], sorted({budget for curve in means.values() for budget in curve})
    variants = _variants(list(means))
    for row, curve in means.items():
        random = _random_of(row, means)
        if random is None or random is curve:
            continue
        saved = {each.budget: each for each in annotation_saved(curve, random)}
        line = [_share(saved[budget]) if budget in saved else "-" for budget in budgets]
        rows.append((_label(row, variants), "yes" if row.uniform else "no", *line))
    notes = [
        "Share of images that random needs more to reach the same mean AUC; negative: it needs fewer.",
        "Random is the one without Unif. in every row: compare rows with Unif. with random's own.",
    ]
    if dataset in ANNOTATION_SAVED:
        notes.append(f"The paper's HaCon, early on: {100 * ANNOTATION_SAVED[dataset]:.0f}%; it gives no formula.")
    header = ("strategy", "Unif.", *(f"{budget:,}" for budget in budgets))
    return Table("Annotation saved against random", header, tuple(rows), tuple(notes))


def correlation_table(found: dict[str, Correlation | None]) -> Table:
    """Pearson's r between the first and the last AUC of active-learning cycles, by later strategy."""
    rows = [
        (
            later,
            "-" if each is None else f"{each.r:.2f}",
            "-" if each is None else f"{each.p:.2g}",
            "-" if each is None else str(each.n),
            f"{CYCLES_R[later]:.2f}" if later in CYCLES_R else "",
        )
        for later, each in found.items()
    ]
    header = ("later strategy", "r", "p", "curves", "paper's r")
    return Table("First against last AUC", header, tuple(rows), ())


def _best(of: Sequence[Cell]) -> list[Cell]:
    """The cells whose mean no other of their column and kind beats."""
    contest = [cell for cell in of if cell.complete and not cell.row.by_itself_an_oracle]
    top: dict[tuple[int, bool], float] = {}
    for cell in contest:
        assert cell.found is not None
        kind = (cell.budget, cell.row.uniform)
        top[kind] = max(top.get(kind, cell.found.mean), cell.found.mean)
    return [
        cell for cell in contest if cell.found is not None and cell.found.mean == top[cell.budget, cell.row.uniform]
    ]


def _variants(rows: Sequence[TrialSpec]) -> list[str]:
    """The settings in which rows of one strategy differ, and which their labels therefore name."""
    names = [each.name for each in fields(TrialSpec) if each.name not in ("strategy", "budget", "seed", "uniform")]
    return [name for name in names if len({getattr(row, name) for row in rows}) > 1]


def _label(row: TrialSpec, variants: Sequence[str]) -> str:
    extra = ", ".join(f"{name}={getattr(row, name)}" for name in variants)
    return f"{row.strategy} ({extra})" if extra else row.strategy


def _marks(line: Sequence[Cell]) -> str:
    return (_SCORER if any(cell.row.saw_test_labels for cell in line) else "") + (
        _ORACLE if any(cell.row.is_oracle for cell in line) else ""
    )


def _text(cell: Cell, best: bool) -> str:
    digits = _DIGITS[cell.figure]
    found = cell.found
    ours = "-"
    if found is not None:
        mean = f"{found.mean:.{digits}f}"
        ours = f"{f'**{mean}**' if best else mean}"
        if found.n > 1:
            ours += f" ± {found.std:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"
        if not cell.complete:
            ours += f" ({found.n} of {cell.trials})"
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
        f"Mean ± standard deviation [95% bootstrap interval of the mean] of {count} trial(s); bold: the best mean of "
        "its column, rows with and without Unif. apart, but for orders that are oracles themselves."
    ]
    if any(cell.found is None for cell in of):
        notes.append('"-": a class is missing from the query in every trial.')
    if any(cell.found is not None and not cell.complete for cell in of):
        notes.append('"(n of m)": a class is missing in the others; the mean of n is not compared with other cells.')
    if any(cell.row.saw_test_labels for cell in of):
        notes.append(f"{_SCORER} its scorer was trained on the test split's labels, as the paper's.")
    if any(cell.row.is_oracle for cell in of):
        notes.append(f"{_ORACLE} an oracle: the query was made with the pool's hidden labels.")
    return notes


def _random_of(row: TrialSpec, means: dict[TrialSpec, dict[int, float]]) -> dict[int, float] | None:
    """Random's curve under the same classifier."""
    for name in (RANDOM_COVERED, "random"):
        for other, curve in means.items():
            if other.strategy == name and not other.uniform and other.classifier == row.classifier:
                return curve
    return None


def _share(saved: Saved) -> str:
    bound = {"exactly": "", "at least": "≥ ", "at most": "≤ "}[saved.bound]
    return f"{bound}{100 * saved.share:.0f}%"
