"""Tables in the form of the paper's 1, 6 and 7, as Markdown: strategies by budgets, the paper's value beside ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace

from pipeline.evaluate.cells import Cell, Figure, cells
from pipeline.evaluate.naming import namer
from pipeline.evaluate.paper import ANNOTATION_SAVED
from pipeline.evaluate.spec import RANDOM_COVERED, TrialSpec
from pipeline.evaluate.statistics import Saved, annotation_saved, difference_interval
from pipeline.evaluate.trial import TrialResult
from pipeline.progress import counted

_VARIANTS = [
    each.name for each in fields(TrialSpec) if each.name not in ("strategy", "budget", "seed", "uniform", "part")
]
"""The settings in which rows of one strategy may differ."""
DIGITS: dict[str, int] = {"auc": 1, "accuracy": 1, "balanced_accuracy": 1, "covered": 2, "entropy": 2}
_SCORER, _ORACLE, _SHORT = "†", "‡", "§"
CHANCE: dict[Figure, float] = {"auc": 50.0}
"""Figure -> what guessing reaches, in percent, whatever the pool."""
_NEAR_CHANCE = 0.04
"""Of the way from chance to 100%: a table whose best mean is not beyond it says nothing about its rows."""
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


def strategy_table(title: str, of: Sequence[Cell], chance: Mapping[Figure, float] = CHANCE) -> Table:
    """Rows: strategies, plain and with oracle label diversity; columns: budgets (Tables 1, 6 and 7).

    A cell: mean, standard deviation, [95% bootstrap interval of the mean], and the paper's value. The best mean of a
    column is bold, for each classifier, and for plain rows and those with label diversity apart. Cells that lack trials
    and rows that are oracles by themselves are never bold. Fewer than three different queries have no interval.

    Args:
        chance: figure -> what guessing reaches; a table that is no better says so.
    """
    budgets = sorted({cell.budget for cell in of})
    rows_of = by_row(of)
    name = name_rows(list(rows_of))
    best = _best(of)
    rows = []
    for row, line in rows_of.items():
        usual = max(cell.trials for cell in line.values())
        texts = [_text(line[budget], line[budget] in best, usual) if budget in line else "" for budget in budgets]
        rows.append((name(row) + marks(row), "yes" if row.uniform else "no", *texts))
    header = ("strategy", "Unif.", *(f"{budget:,}" for budget in budgets))
    return Table(title, header, tuple(rows), (*_at_chance(of, chance), *_notes(of)))


def against_table(title: str, of: Sequence[Cell]) -> Table:
    """HaCon minus every other strategy of the same kind: the mean difference and its 95% bootstrap interval.

    Rows and columns as in ``strategy_table``; bold where the interval leaves out 0.
    """
    rows_of = by_row(of)
    budgets = sorted({cell.budget for cell in of})
    name = name_rows(list(rows_of))
    rows, shown = [], []
    for row, line in rows_of.items():
        ours = rows_of.get(replace(row, strategy=HACON, scorer="test"), {})
        if row.strategy == HACON or not ours:
            continue
        texts = [_difference(ours.get(budget), line.get(budget)) for budget in budgets]
        rows.append((name(row) + marks(row), "yes" if row.uniform else "no", *texts))
        shown.append(row)
    notes = [
        "HaCon minus the other [95% bootstrap interval of the difference]; bold: it leaves out 0, without regard to "
        "how many comparisons there are (the table of all pairs has regard to it)."
    ]
    of_row = [text for row in rows for text in row[2:]]
    if "-" in of_row:
        notes.append('"-": in one of the two some trial lacks the figure.')
    if any(text and text != "-" and "[" not in text for text in of_row):
        notes.append("Without an interval: one of the two has fewer than three different queries.")
    header = ("HaCon minus", "Unif.", *(f"{budget:,}" for budget in budgets))
    return Table(title, header, tuple(rows), (*notes, *marks_explained(shown)))


def saved_table(results: Sequence[TrialResult], dataset: str | None = None) -> Table:
    """Annotation saved against random at equal AUC (``statistics.annotation_saved``), strategy by budget.

    A row with label diversity is compared with random with label diversity. Any other is compared with
    ``random_covered``, as in Table 1. Where that was not measured, the queries of random that cover all classes stand
    for it.
    """
    rows_of = by_row(cells(results, "auc"))
    rows, shown = [], []
    budgets = sorted({cell.budget for line in rows_of.values() for cell in line.values() if cell.complete})
    name = name_rows(list(rows_of))
    for row, line in rows_of.items():
        random = _random_of(row, rows_of)
        curve = {cell.budget: cell.found.mean for cell in line.values() if cell.complete and cell.found is not None}
        if random is None or random is line or not curve:
            continue
        baseline = {cell.budget: cell.found.mean for cell in random.values() if cell.found is not None}
        saved = {each.budget: each for each in annotation_saved(curve, baseline)}
        texts = [_share(saved[budget]) if budget in saved else "-" for budget in budgets]
        rows.append((name(row) + marks(row), "yes" if row.uniform else "no", *texts))
        shown.append(row)
    notes = [
        "Share of images that random needs more to reach the same mean AUC; negative: it needs fewer. Random's queries "
        "cover all classes, as in Table 1; rows with Unif. are set beside random with Unif."
    ]
    if dataset in ANNOTATION_SAVED:
        notes.append(f"The paper's HaCon, early on: {100 * ANNOTATION_SAVED[dataset]:.0f}%; it gives no formula.")
    every = [text for row in rows for text in row[2:]]
    if any("≥" in text for text in every):
        notes.append('"≥": random never got that far, at any budget that was measured.')
    if any("≤" in text for text in every):
        notes.append('"≤": random was as good at its smallest budget already.')
    if "-" in every:
        notes.append('"-": not measured, some query lacks a class, or random would need more images than it was given.')
    header = ("strategy", "Unif.", *(f"{budget:,}" for budget in budgets))
    return Table("Annotation saved against random", header, tuple(rows), (*notes, *marks_explained(shown)))


def by_row(of: Sequence[Cell]) -> dict[TrialSpec, dict[int, Cell]]:
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
    mean = f"{ours.found.mean - other.found.mean:+.{DIGITS[ours.figure]}f}"
    if not (ours.interval and other.interval):
        return mean
    low, high = difference_interval(ours.values, other.values)
    bold = f"**{mean}**" if low > 0 or high < 0 else mean
    return f"{bold} [{low:+.{DIGITS[ours.figure]}f}, {high:+.{DIGITS[ours.figure]}f}]"


def _best(of: Sequence[Cell]) -> list[Cell]:
    """The cells whose mean no other of their column and kind beats."""
    contest: dict[tuple[int, bool, str], list[tuple[float, Cell]]] = {}
    for cell in of:
        if cell.complete and cell.found is not None and not cell.row.by_itself_an_oracle:
            kind = (cell.budget, cell.row.uniform, cell.row.classifier)
            contest.setdefault(kind, []).append((cell.found.mean, cell))
    return [cell for group in contest.values() for mean, cell in group if mean == max(mean for mean, _ in group)]


def name_rows(rows: Sequence[TrialSpec]) -> Callable[[TrialSpec], str]:
    """What each row is called: its strategy, with what sets it apart."""
    return namer(rows, lambda row: row.strategy, _VARIANTS)


def marks(row: TrialSpec) -> str:
    """The signs of its footnotes."""
    return (_SCORER if row.saw_test_labels else "") + (_ORACLE if row.is_oracle else "")


def marks_explained(rows: Sequence[TrialSpec]) -> list[str]:
    """The footnotes of the signs that the rows have."""
    notes = []
    if any(row.saw_test_labels for row in rows):
        notes.append(f"{_SCORER} its scorer was trained on the test split's labels, as the paper's.")
    if any(row.is_oracle for row in rows):
        notes.append(f"{_ORACLE} an oracle: the query was made with the pool's hidden labels.")
    return notes


def _text(cell: Cell, best: bool, usual: int) -> str:
    """A cell's text. ``usual``: trials of the row's other cells."""
    digits = DIGITS[cell.figure]
    found = cell.found
    ours = "-"
    if found is not None:
        mean = f"{found.mean:.{digits}f}"
        ours = f"**{mean}**" if best else mean
        if cell.spread:
            ours += f" ± {found.std:.{digits}f}"
        if cell.interval:
            ours += f" [{found.low:.{digits}f}, {found.high:.{digits}f}]"
        if not cell.complete:
            ours += f" ({found.n} of {cell.trials})"
    if cell.trials < usual:
        ours += f" ({counted(cell.trials, 'trial')})"
    if cell.short:
        ours += _SHORT
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
        f"{'trial' if count == '1' else 'trials'} of one training; bold: the best mean of its column, "
        "rows with and without Unif. apart, but for orders that are oracles themselves."
    ]
    if any(cell.spread and not cell.interval for cell in of):
        notes.append("Without an interval: fewer than three different queries.")
    if any(cell.found is None for cell in of):
        notes.append('"-": a class is missing from the query in every trial.')
    if any(cell.found is not None and not cell.complete for cell in of):
        notes.append('"(n of m)": a class is missing in the others; the mean of n is not compared with other cells.')
    if any(cell.queries < cell.trials for cell in of):
        notes.append(
            '"(1 query)", "(n queries)": whatever the seed, the trials asked for the same images; of one there is no '
            "spread."
        )
    if any(len({cell.trials for cell in line.values()}) > 1 for line in by_row(of).values()):
        notes.append('"(n trials)": fewer than the row has elsewhere.')
    if any(cell.paper is not None and cell.paper.mean is None for cell in of):
        notes.append('"paper -": the paper has a dash there.')
    short = [f"{low} of {budget:,}" for budget in sorted({cell.budget for cell in of}) if (low := _fewest(of, budget))]
    if short:
        notes.append(
            f"{_SHORT} queries with Unif. have fewer images than the budget ({', '.join(short)} at the least) where "
            "there are too few of a class: as in the authors' code, the others do not make up for it."
        )
    return [*notes, *marks_explained([cell.row for cell in of])]


def _at_chance(of: Sequence[Cell], chance: Mapping[Figure, float]) -> list[str]:
    """A sentence for a table whose every mean is what guessing reaches, or close to it."""
    means = [cell.found.mean for cell in of if cell.found is not None]
    guessed = chance.get(of[0].figure) if of else None
    if guessed is None or not means or max(means) > guessed + _NEAR_CHANCE * (100 - guessed):
        return []
    return [
        f"At chance level: guessing reaches {guessed:.0f}%, and the best mean here is {max(means):.1f}%. "
        "The classifier learned next to nothing, so this table cannot tell strategies apart."
    ]


def _fewest(of: Sequence[Cell], budget: int) -> int:
    """Images of the smallest query with label diversity that is below its budget; 0 where none is."""
    return min((cell.fewest for cell in of if cell.budget == budget and cell.short), default=0)


def _random_of(row: TrialSpec, rows_of: dict[TrialSpec, dict[int, Cell]]) -> dict[int, Cell] | None:
    """Random's line under the same classifier, with label diversity where the row has it."""
    for name in ("random",) if row.uniform else (RANDOM_COVERED, "random"):
        for other, line in rows_of.items():
            same = (other.strategy, other.uniform, other.classifier) == (name, row.uniform, row.classifier)
            if same and any(cell.found is not None for cell in line.values()):
                return line
    return None


def _share(saved: Saved) -> str:
    if saved.bound == "at least" and round(100 * saved.share) <= 0:
        return "-"  # it would say nothing
    bound = {"exactly": "", "at least": "≥ ", "at most": "≤ "}[saved.bound]
    return f"{bound}{100 * saved.share:.0f}%"
