"""Sentences of the page of the paper's tables and figures: how to read each, and where it stands in the paper."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.paper.data import CurveFigure, CyclesFigure, FeatureMap, LabelFigure, PaperData, PoolMap
from pipeline.progress import counted
from pipeline.report.words import count

BAND = "Lines are means over the seeds, bands one standard deviation to either side."
READ_AUC = (
    f"{BAND} A point is missing where a class is missing from some query, as the dash in the table; the model of such "
    "a query has no AUC over all classes. Random's line is then of those of its queries that hold all."
)
READ_ABLATIONS = (
    "What each part of HaCon is good for: with one of them taken away, and by chance. Marks are means over the seeds, "
    "bars one standard deviation; an AUC is missing where a class is missing from some query."
)
READ_COVERAGE = f"{BAND} 1.00: every query has an image of every class. A class without one cannot be learned."
READ_SWEEP = (
    f"{BAND} K is the number of clusters that take turns; the paper finds the best coverage where K is the budget."
)
HOW_TO_READ_TABLES = (
    "A cell: mean and standard deviation over the seeds, [the 95% interval of the mean], and the paper's own number "
    "for the same strategy and budget, where it has one."
)


def headline(data: PaperData) -> str:
    """What the page is."""
    return f"The paper's tables and figures, on {data.title}"


def lede(data: PaperData) -> str:
    """What was measured, in a few sentences."""
    curves = sum(figure.n for figure in data.cycles)
    trials = f"{count(data.trials)} trials" if data.trials != 1 else "1 trial"
    measured = [trials] if data.trials else []
    measured += [f"{count(curves)} curves of active-learning cycles"] if curves else []
    if not measured:
        return "Nothing was measured in this run yet; below are the commands that do it."
    return (
        f"{' and '.join(measured).capitalize()}: strategies choose which images to label, a classifier learns from "
        "them, the test split judges. Labels are for judging; tables mark strategies that saw some (\u2020, \u2021)."
    )


def read_labels(figure: LabelFigure, pool: bool) -> str:
    """How to read the label distributions."""
    first = " The first bar is the pool itself." if pool else ""
    return (
        f"The classes of a query of {count(figure.budget)}, as shares; mean over the seeds.{first} To the right, "
        "classes covered and the entropy of the distribution in bits, means over the seeds: the more, the more even."
    )


def read_curves(figure: CurveFigure, read: str) -> str:
    """How to read it, and what the figure itself has to say."""
    return f"{read} {figure.note}".strip()


def read_cycles(figure: CyclesFigure) -> str:
    """How to read one later strategy's curves."""
    return (
        f"Every line begins with another initial strategy; from there on all add images by {figure.later}. {BAND} "
        "A class that is missing counts 50%, as guessed."
    )


def correlation(figure: CyclesFigure) -> str:
    """The correlation in words, beside the paper's."""
    paper = "" if figure.paper_r is None else f"; the paper: r = {figure.paper_r:.2f}"
    if figure.r is None or figure.p is None:
        return f"{counted(figure.n, 'curve')} are too few, or too much alike, for a correlation{paper}."
    return f"Pearson's r = {figure.r:.2f}, p = {figure.p:.2g}, {count(figure.points)} different first queries{paper}."


def read_against(figure: CyclesFigure) -> str:
    """How to read first against last."""
    return (
        f"{correlation(figure)} One mark is one trial. An r near 1 says that who begins better ends better: the first "
        "choice decides."
    )


def read_pool_map(figure: PoolMap, budget: int) -> str:
    """How to read a dataset map."""
    marked = f"Marked are the {count(budget)} images that each strategy takes first."
    if figure.kind == "contrast":
        return (
            "Blue is the pool, darker where more images lie. Up and down: how surely an image was told from the others "
            f"while the encoder was trained, without labels; to the right, how much that changed. {marked}"
        )
    return (
        "The same map from ground truth: how surely a supervised training gave each image its true class. It needs all "
        f"labels, and is for comparison only. {marked}"
    )


def read_feature_map(figure: FeatureMap, budget: int) -> str:
    """How to read the map of the features."""
    return (
        f"One dot is one image; look-alikes lie close together ({figure.method}). Marked are the {count(budget)} "
        "images that each strategy takes first: hard-to-contrast ones are expected amid the crowds, easy ones at the "
        "rims."
    )


MISSING: Mapping[str, str] = {
    "benchmark": "Tables 1, 6 and 7 and the curves of Figs. 5, 7 and 10 (benchmark trials)",
    "labels": "Label distributions, Figs. 2, 8 and 11 (trials, and the pool's labels)",
    "ablations": "Ablations, Fig. 3 (trials of hard-to-contrast and of what lacks one of its parts)",
    "sweep": "Sweep of K, Fig. 17 (trials of hard-to-contrast with several K)",
    "cycles": "Active-learning cycles, Figs. 6 and 14 to 16",
    "maps": "Dataset map from contrast and map of the features, Figs. 4 and 9 (a finished run of the stages)",
    "truth": "Dataset map from ground truth, Figs. 4, 12 and 13",
}
"""What is left out, by the part of the page that is missing."""
