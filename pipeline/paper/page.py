"""All tables and figures of a run in the paper's form: one self-contained page, as ``page`` is for a query.

``PaperData`` in, one HTML string out; no storage, no Ray, no network, no scripts, and the same data gives the same
page. Numbers come ready-made; what is absent is left out, with the command that makes it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.paper import drawing
from pipeline.paper import words as paper_words
from pipeline.paper.data import (
    CurveFigure,
    CyclesFigure,
    FeatureMap,
    LabelFigure,
    Panel,
    PaperData,
    PaperTable,
    PoolMap,
)
from pipeline.report import figures, words
from pipeline.report.page import environment
from pipeline.report.thumbnails import data_uri

_BUDGET = "images to label (log scale)"
_MAP_NAMES = {
    "contrast": ("easy-to-contrast", "hard-to-contrast"),
    "truth": ("easy-to-learn", "hard-to-learn"),
}
_MAP_HEIGHT = {"contrast": "confidence", "truth": "probability of the true class"}


@dataclass(frozen=True)
class Shown:
    """One figure with its words. ``paper``: where the paper has its like."""

    title: str
    paper: str
    drawn: drawing.Drawn
    alt: str
    read: str
    command: str
    dense: bool = False
    """Whether it has too many marks to be drawn as lines on the page."""

    @property
    def uri(self) -> str:
        """The picture as the page holds it."""
        if self.dense:
            return data_uri("image/png", figures.png(self.drawn))
        return data_uri("image/svg+xml", figures.svg(self.drawn))


@dataclass(frozen=True)
class Section:
    """One part of the page."""

    name: str
    title: str
    hint: str
    tables: tuple[PaperTable, ...] = ()
    pictures: tuple[Shown, ...] = ()


def render_paper(data: PaperData) -> str:
    """The whole page as HTML."""
    sections = [section for section in _sections(data) if section.tables or section.pictures]
    page = environment("paper")
    page.filters["lines"] = cell_lines
    return page.get_template("page.html.j2").render(
        data=data,
        headline=paper_words.headline(data),
        lede=paper_words.lede(data),
        tiles=_tiles(data),
        sections=sections,
        missing=_missing(data),
    )


def picture_files(data: PaperData) -> Iterator[tuple[str, bytes]]:
    """(File name, content) of every figure of the page, as PNG, SVG and PDF: for papers and talks."""
    seen: Counter[str] = Counter()
    for section in _sections(data):
        for picture in section.pictures:
            name = re.sub(r"[^a-z0-9]+", "-", picture.title.lower()).strip("-")
            seen[name] += 1  # one title may stand for several classifiers
            name += f"-{seen[name]}" if seen[name] > 1 else ""
            for suffix, write in (("png", figures.png), ("svg", figures.svg), ("pdf", figures.pdf)):
                yield f"{name}.{suffix}", write(picture.drawn)


def cell_lines(text: str) -> list[list[tuple[str, bool]]]:
    """A cell's text as lines, each of (words, whether bold): see ``PaperTable``. An interval has a line of its own."""
    return [
        [(part, bool(number % 2)) for number, part in enumerate(line.split("**")) if part]
        for line in text.replace(" [", "; [").split("; ")
        if line
    ]


def _tiles(data: PaperData) -> list[tuple[str, str]]:
    """Key numbers as (value, name)."""
    tiles = []
    if data.images is not None:
        tiles.append((words.count(data.images), "images in the pool"))
    if data.classes:
        tiles.append((words.count(len(data.classes)), "classes"))
    tiles.append((words.count(data.trials), "benchmark trials"))
    tiles.append((words.count(sum(figure.n for figure in data.cycles)), "curves of cycles"))
    return tiles


def _sections(data: PaperData) -> list[Section]:
    commands = data.commands
    curves = (
        *[_curves(each, "Figs. 5, 7", paper_words.READ_AUC, commands.benchmark) for each in data.auc],
        *[_dots(each, commands.ablations) for each in data.ablations],
        *[_curves(each, "Fig. 10", paper_words.READ_COVERAGE, commands.benchmark) for each in data.coverage],
        *[_curves(each, "Fig. 17", paper_words.READ_SWEEP, commands.sweep, "K, clusters") for each in data.sweep],
    )
    cycles = [each for figure in data.cycles for each in _cycles(figure, commands.cycles)]
    maps = [_pool_map(each, data) for each in data.maps]
    if data.features is not None:
        maps.append(_feature_map(data.features, data))
    return [
        Section("tables", "Tables", paper_words.HOW_TO_READ_TABLES, data.tables),
        Section("benchmark", "By budget", "", pictures=curves),
        Section("labels", "Label distributions", "", pictures=tuple(_labels(each, data) for each in data.labels)),
        Section("cycles", "Active-learning cycles", "", data.cycle_tables, tuple(cycles)),
        Section("maps", "Maps of the pool", "", pictures=tuple(maps)),
    ]


def _missing(data: PaperData) -> list[tuple[str, str]]:
    """What the run lacks, as (what, command)."""
    commands = data.commands
    kinds = {each.kind for each in data.maps}
    absent = {
        "benchmark": (not data.tables, commands.benchmark),
        "labels": (not data.labels, commands.benchmark),
        "ablations": (not data.ablations, commands.ablations),
        "sweep": (not data.sweep, commands.sweep),
        "cycles": (not data.cycles, commands.cycles),
        "maps": ("contrast" not in kinds or data.features is None, commands.maps),
        "truth": ("truth" not in kinds, commands.truth),
    }
    return [(paper_words.MISSING[part], command) for part, (missing, command) in absent.items() if missing]


def _curves(figure: CurveFigure, paper: str, read: str, command: str, xlabel: str = _BUDGET) -> Shown:
    drawn = drawing.curves(figure.panels, xlabel, log=xlabel == _BUDGET)
    return Shown(
        figure.title,
        paper,
        drawn,
        f"Lines of {_listed(figure)} over {xlabel}.",
        paper_words.read_curves(figure, read),
        command,
    )


def _dots(figure: CurveFigure, command: str) -> Shown:
    return Shown(
        figure.title,
        "Fig. 3",
        drawing.dots(figure.panels, "images to label"),
        f"Marks of {_listed(figure)} at each number of images.",
        paper_words.read_curves(figure, paper_words.READ_ABLATIONS),
        command,
    )


def _labels(figure: LabelFigure, data: PaperData) -> Shown:
    return Shown(
        f"Classes of a query of {words.count(figure.budget)}",
        "Figs. 2, 8, 11",
        drawing.label_bars(figure.bars, data.classes),
        f"Shares of {len(data.classes)} classes in the queries of {len(figure.bars)} strategies.",
        paper_words.read_labels(figure, pool=figure.bars[0].name == "the pool"),
        data.commands.benchmark,
    )


def _cycles(figure: CyclesFigure, command: str) -> list[Shown]:
    curves = drawing.curves([Panel("AUC (%)", figure.curves, 100)], "images labelled", log=False)
    against = drawing.first_against_last(figure)
    paper = "Figs. 6, 14 to 16"
    return [
        Shown(
            f"Then {figure.later}: the curves",
            paper,
            curves,
            f"AUC over the number of labelled images, by initial strategy, with {figure.later} from there on.",
            paper_words.read_cycles(figure),
            command,
        ),
        Shown(
            f"Then {figure.later}: first against last",
            paper,
            against,
            f"First against last AUC of {figure.n} curves. {paper_words.correlation(figure)}",
            paper_words.read_against(figure),
            command,
        ),
    ]


def _pool_map(figure: PoolMap, data: PaperData) -> Shown:
    drawn = figures.region_map(
        figure.mean, figure.std, figure.selections, _MAP_NAMES[figure.kind], _MAP_HEIGHT[figure.kind]
    )
    contrast = figure.kind == "contrast"
    return Shown(
        f"Dataset map from {'contrast' if contrast else 'ground truth'}",
        "Figs. 4, 12, 13",
        drawn,
        f"Density of {words.count(len(figure.mean))} images, with {', '.join(figure.selections)} marked.",
        paper_words.read_pool_map(figure, data.budget),
        data.commands.maps if contrast else data.commands.truth,
        dense=True,
    )


def _feature_map(figure: FeatureMap, data: PaperData) -> Shown:
    return Shown(
        "Map of the features",
        "Fig. 9",
        figures.selection_map(figure.points, figure.selections),
        f"{words.count(len(figure.points))} images in the plane, with {', '.join(figure.selections)} marked.",
        paper_words.read_feature_map(figure, data.budget),
        data.commands.maps,
        dense=True,
    )


def _listed(figure: CurveFigure) -> str:
    """What is measured of whom, for those who cannot see it."""
    names = dict.fromkeys(curve.name for panel in figure.panels for curve in panel.curves)
    return f"{' and '.join(panel.label for panel in figure.panels)} of {', '.join(names)}"
