"""What the page of the paper's tables and figures is drawn from: frozen dataclasses, ready to be shown.

``on_ray.paper_report`` fills them from what a benchmark left; nothing here is computed from trials. Whatever is absent
(an empty tuple, None) is left out of the page. Letters: N = images in the pool, M = points on the embedding map,
C = classes, B = the budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Float32, Float64

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class PaperTable:
    """A table of texts. In a cell ``**`` encloses what is bold, and what follows "; " stands on a line of its own.

    The first column names the row. ``minor``: shown folded up.

    Raises:
        ValueError: a row that is longer or shorter than the header.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    command: str = ""
    minor: bool = False

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"a row of {len(row)} cells under a header of {len(self.header)}: '{row[0]}'")


@dataclass(frozen=True)
class Curve:
    """One line: mean and standard deviation of some figure at each x.

    Raises:
        ValueError: not as many of one as of the others.
    """

    name: str
    x: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        lengths = [len(self.x), len(self.mean), len(self.std)]
        if len(set(lengths)) > 1:
            raise ValueError(f"the curve '{self.name}' has columns of {lengths}")


@dataclass(frozen=True)
class Panel:
    """Curves on the same axes. ``label``: what is measured; ``most``: the largest that it can be, if there is such."""

    label: str
    curves: tuple[Curve, ...]
    most: float | None = None


@dataclass(frozen=True)
class CurveFigure:
    """Panels one below the other, over the same x. ``note``: what else a reader should know."""

    title: str
    panels: tuple[Panel, ...]
    note: str = ""


@dataclass(frozen=True)
class LabelBar:
    """The classes of one strategy's queries: mean images of each class (C,), and in words what to see."""

    name: str
    counts: tuple[float, ...]
    remark: str


@dataclass(frozen=True)
class LabelFigure:
    """Label distributions of all strategies at one budget."""

    budget: int
    bars: tuple[LabelBar, ...]


@dataclass(frozen=True)
class CyclesFigure:
    """All curves of one later strategy: by initial strategy, and first against last.

    ``pairs``: (first AUC, last AUC) of every curve, by initial strategy. ``r``, ``p``: Pearson's over ``points``
    different first queries; None where there are too few. ``paper_r``: the paper's.
    """

    later: str
    curves: tuple[Curve, ...]
    pairs: Mapping[str, tuple[tuple[float, float], ...]]
    r: float | None
    p: float | None
    points: int
    paper_r: float | None

    @property
    def n(self) -> int:
        """How many curves."""
        return sum(map(len, self.pairs.values()))


@dataclass(frozen=True)
class PoolMap:
    """A dataset map with selections marked. Shapes: mean, std (N,), over the epochs; masks (N,) by strategy.

    ``kind``: whose probability is averaged, that of telling an image from the others or of its true class.
    """

    kind: Literal["contrast", "truth"]
    mean: Float64
    std: Float64
    selections: Mapping[str, Mask]

    def __post_init__(self) -> None:
        _check_lengths(self, self.mean, self.std, *self.selections.values())


@dataclass(frozen=True)
class FeatureMap:
    """Some of the pool in the plane. Shapes: points (M, 2); masks (M,) by strategy. ``method``: ``Projection``'s."""

    points: Float32
    selections: Mapping[str, Mask]
    method: str = "UMAP"

    def __post_init__(self) -> None:
        _check_lengths(self, self.points, *self.selections.values())


@dataclass(frozen=True)
class Commands:
    """What makes, or made, each part of the page; an empty one is not shown."""

    page: str = ""
    benchmark: str = ""
    ablations: str = ""
    sweep: str = ""
    cycles: str = ""
    maps: str = ""
    truth: str = ""

    def __post_init__(self) -> None:
        for each in fields(self):
            if "\n" in getattr(self, each.name):
                raise ValueError(f"the command for {each.name} has more than one line")


@dataclass(frozen=True)
class PaperData:
    """Everything the page shows. ``tables`` are the benchmark's, ``cycle_tables`` those of the cycles."""

    title: str
    run: str
    store: str = ""
    images: int | None = None
    classes: tuple[str, ...] = ()
    trials: int = 0
    commands: Commands = field(default_factory=Commands)
    tables: tuple[PaperTable, ...] = ()
    auc: tuple[CurveFigure, ...] = ()
    ablations: tuple[CurveFigure, ...] = ()
    coverage: tuple[CurveFigure, ...] = ()
    sweep: tuple[CurveFigure, ...] = ()
    labels: tuple[LabelFigure, ...] = ()
    cycle_tables: tuple[PaperTable, ...] = ()
    cycles: tuple[CyclesFigure, ...] = ()
    maps: tuple[PoolMap, ...] = ()
    features: FeatureMap | None = None
    budget: int = 0
    """Of the selections on the maps."""
    notes: tuple[str, ...] = ()


def _check_lengths(of: Any, *arrays: NDArray[Any]) -> None:
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise ValueError(f"the arrays of {type(of).__name__} differ in length: {lengths}")
