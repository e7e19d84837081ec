"""Trials of the same row and budget as one figure with its statistics, and the paper's value beside it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from pipeline.cluster import PAPERS_K
from pipeline.evaluate.paper import PaperCell, PaperKey, paper_tables
from pipeline.evaluate.spec import RANDOM_COVERED, TrialSpec
from pipeline.evaluate.statistics import Summary, summarise
from pipeline.evaluate.trial import TrialResult
from pipeline.select import STRATEGIES, find

Figure = Literal["auc", "accuracy", "balanced_accuracy", "covered", "entropy"]
_ROUNDING = 1e-3
"""A percent's; what differs by less is the same result, computed twice."""
LEAST_FOR_INTERVAL = 3
"""Different queries with the figure; of two, resamples are these two and their middle."""
FIGURES: tuple[Figure, ...] = ("auc", "accuracy", "balanced_accuracy", "covered", "entropy")


@dataclass(frozen=True)
class Cell:
    """All trials of one row and budget, in one figure."""

    row: TrialSpec
    """What the trials share; its budget, seed and part are 0."""
    budget: int
    figure: Figure
    trials: int
    queries: int
    """Different sets of samples among the trials: a strategy that does not depend on the seed makes one."""
    fewest: int
    """Images of the smallest query: under ``uniform`` it may be below the budget."""
    values: tuple[float, ...]
    """Of the trials that have the figure, ascending."""
    found: Summary | None
    """None where the figure is missing from every trial. Over the trials that have it."""
    paper: PaperCell | None
    """None where the paper has no such cell."""

    @property
    def spread(self) -> bool:
        """Whether standard deviation and interval say something: not of one result over and over."""
        return self.found is not None and self.found.n > 1 and (self.queries > 1 or self.found.std > _ROUNDING)

    @property
    def interval(self) -> bool:
        """Whether an interval says something: two values have none, and one query's spread is the classifier's."""
        return self.spread and self.found is not None and min(self.found.n, self.queries) >= LEAST_FOR_INTERVAL

    @property
    def short(self) -> bool:
        """Whether label diversity left some query below its budget."""
        return self.row.uniform and self.fewest < self.budget

    @property
    def complete(self) -> bool:
        """Whether every trial has the figure: only then may it be compared with others."""
        return self.found is not None and self.found.n == self.trials


def cells(
    results: Sequence[TrialResult], figure: Figure, table: int | None = None, dataset: str | None = None
) -> list[Cell]:
    """One cell for each row (strategy, uniform, variant) and budget, in the order of the registry.

    Args:
        table, dataset: whose numbers are set beside ours ("pathmnist", "organamnist", "bloodmnist", "cifar10-lt").
    """
    groups: dict[tuple[TrialSpec, int], list[TrialResult]] = {}
    for result in results:
        row = replace(result.spec, budget=0, seed=0, part=0)
        groups.setdefault((row, result.spec.budget), []).append(result)
    made = []
    for (row, budget), trials in sorted(groups.items(), key=lambda item: (_place(item[0][0]), item[0][1])):
        # Sorted, so that resamples do not depend on the order of the trials.
        values = sorted(value for trial in trials if (value := getattr(trial, figure)) is not None)
        made.append(
            Cell(
                row=row,
                budget=budget,
                figure=figure,
                trials=len(trials),
                queries=len({frozenset(trial.ids) for trial in trials}),
                fewest=min(len(trial.ids) for trial in trials),
                values=tuple(values),
                found=summarise(values) if values else None,
                paper=_paper(row, budget, table, dataset),
            )
        )
    return made


def cells_csv(of: Sequence[Cell]) -> str:
    """One line a cell: the row's settings, the figure, its statistics, the paper's value."""
    columns = [each.name for each in fields(TrialSpec) if each.name not in ("budget", "seed", "part")]
    statistics = ("n", "mean", "std", "low", "high")
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n")
    write.writerow(
        [*columns, "budget", "figure", "trials", "queries", *statistics, "oracle", "saw_test", "paper", "paper_std"]
    )
    for cell in of:
        settings = asdict(cell.row)
        found: dict[str, Any] = {} if cell.found is None else asdict(cell.found)
        if not cell.interval:
            found |= dict.fromkeys(("low", "high"))
        paper = PaperCell(None, None) if cell.paper is None else cell.paper
        write.writerow(
            [
                *(settings[name] for name in columns),
                *(cell.budget, cell.figure, cell.trials, cell.queries),
                *(found.get(name, 0 if name == "n" else None) for name in statistics),
                *(cell.row.is_oracle, cell.row.saw_test_labels, paper.mean, paper.std),
            ]
        )
    return text.getvalue()


def _paper(row: TrialSpec, budget: int, table: int | None, dataset: str | None) -> PaperCell | None:
    # The paper's scorers saw the test split, and its K is 30.
    chosen_by = find(row.strategy)
    other_scorer = row.scorer != "test" and chosen_by is not None and chosen_by.scorer
    if table is None or dataset is None or other_scorer or row.k not in (None, PAPERS_K) or row.share < 1:
        return None
    return paper_tables().get(PaperKey(table, dataset, row.strategy, row.uniform, budget))


def _place(row: TrialSpec) -> tuple[Any, ...]:
    """The order of rows: oracles' random first, then as the registry has them, then published orders by name."""
    names = [RANDOM_COVERED, *STRATEGIES]
    at = names.index(row.strategy) if row.strategy in names else len(names)
    return (at, row.strategy, row.uniform, row.classifier, row.scorer, row.k or 0, row.temperature)
