"""The paper's printed numbers, to set beside ours."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

DATASETS = ("pathmnist", "organamnist", "bloodmnist", "cifar10-lt")
CYCLES_R = {"random": 0.92, "entropy": 0.81, "margin": 0.70, "bald": 0.82, "coreset": 0.85}
"""Pearson's r between the first and the last AUC of the active-learning cycles, by later strategy (Figs. 14 to 16)."""
ANNOTATION_SAVED = {"pathmnist": 0.61, "organamnist": 0.21, "bloodmnist": 0.52}
"""Share of the annotation saved early on, against random."""


@dataclass(frozen=True)
class PaperCell:
    """Mean (None: the paper's "-") and standard deviation (None: not printed)."""

    mean: float | None
    std: float | None


@dataclass(frozen=True)
class PaperKey:
    """Where a number stands: Table 1, 6 or 7, and a budget in images."""

    table: int
    dataset: str
    strategy: str
    uniform: bool
    budget: int


def dataset_of(source: str) -> str | None:
    """The data set of the paper that ``ingest.source`` is, if any; a file of one's own is none, whatever its name."""
    name = source.removeprefix("medmnist:")
    return name if name in DATASETS else None


@cache
def paper_tables() -> dict[PaperKey, PaperCell]:
    """All cells of Tables 1, 6 and 7; strategies by our names."""
    text = (files(__package__) / "paper_tables.csv").read_text()
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {_key(row): PaperCell(_number(row["mean"]), _number(row["std"])) for row in rows}


def _key(row: dict[str, str]) -> PaperKey:
    return PaperKey(int(row["table"]), row["dataset"], row["strategy"], row["uniform"] == "1", int(row["budget"]))


def _number(text: str) -> float | None:
    return float(text) if text else None
