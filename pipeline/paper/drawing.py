"""Figures of the benchmark and of the cycles: curves with bands, label distributions, first against last."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from matplotlib.transforms import blended_transform_factory

from pipeline.paper.data import Curve, CyclesFigure, LabelBar, Panel
from pipeline.report.figures.canvas import GRID, INK, MUTED, NARROW_IN, blank, canvas, name_above, style
from pipeline.report.figures.looks import Look, looks

Drawn = Figure
_LEGEND_ROW_IN = 0.23
_SHORT_NAME, _LONG_NAME = 13, 22
"""Letters of names that stand three in a row, and two."""
_TICKS_APART = 0.045
"""Share of the axis that two written budgets are apart, at least."""


def curves(panels: Sequence[Panel], xlabel: str, *, log: bool = True) -> Figure:
    """Lines of means with a band of one standard deviation to either side (the paper's Figs. 5 to 7, 10, 17).

    Args:
        panels: one below the other, each with its own values over the same x.
        log: whether x is drawn by its logarithm.
    """
    names = _names(panels)
    look = looks(names)
    figure = blank(0.5 + 2.6 + 1.7 * (len(panels) - 1) + _legend_height(names), NARROW_IN)
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(rows, panels, strict=True):
        for curve in panel.curves:
            _line(axes, curve, look[curve.name])
        _values(axes, panel.label, panel.most)
    at = sorted({x for panel in panels for curve in panel.curves for x in curve.x})
    _budgets(rows[-1], at, xlabel, log=log)
    _legend(figure, names, look)
    return figure


def dots(panels: Sequence[Panel], xlabel: str) -> Figure:
    """Means with bars of one standard deviation, side by side at each x (the paper's Fig. 3)."""
    names = _names(panels)
    look = looks(names)
    at = sorted({x for panel in panels for curve in panel.curves for x in curve.x})
    place = {x: number for number, x in enumerate(at)}
    figure = blank(0.5 + 2.0 * len(panels) + _legend_height(names), NARROW_IN)
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, panel in zip(rows, panels, strict=True):
        for curve in panel.curves:
            aside = (names.index(curve.name) - (len(names) - 1) / 2) * 0.72 / len(names)
            each = look[curve.name]
            axes.errorbar(
                [place[x] + aside for x in curve.x], curve.mean, yerr=curve.std, fmt=each.marker, color=each.colour,
                markersize=7, elinewidth=1.6, capsize=3, markeredgecolor="white", markeredgewidth=0.7,
            )  # fmt: skip
        _values(axes, panel.label, panel.most)
        for edge in range(1, len(at)):
            axes.axvline(edge - 0.5, color=GRID, linewidth=1)
    style(rows[-1], xlabel, "")
    rows[-1].set_xticks(range(len(at)), [f"{x:,.0f}" for x in at])
    rows[-1].set_xlim(-0.5, len(at) - 0.5)
    _legend(figure, names, look, line=False)
    return figure


def label_bars(bars: Sequence[LabelBar], classes: Sequence[str]) -> Figure:
    """Each strategy's share of every class, as one bar of its own (the paper's Figs. 2, 8, 11)."""
    columns = _columns(classes)
    figure, axes = canvas(0.5 + 0.25 * len(bars) + _legend_height(classes), NARROW_IN)
    place = np.arange(len(bars))
    counts = np.array([bar.counts for bar in bars], np.float64).reshape(len(bars), len(classes))
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1e-12)
    left = np.zeros(len(bars))
    for number, name in enumerate(classes):
        colour = _class_colour(number, len(classes))
        axes.barh(
            place, shares[:, number], left=left, height=0.78, color=colour, edgecolor="white", linewidth=0.6, label=name
        )
        left += shares[:, number]
    beside = blended_transform_factory(axes.transAxes, axes.transData)
    for at, bar in enumerate(bars):
        axes.text(1.015, at, bar.remark, transform=beside, va="center", fontsize=9, color=MUTED)
    style(axes, "", "")
    axes.set_yticks(place, [bar.name for bar in bars])
    axes.tick_params(axis="y", labelsize=10, labelcolor=INK, length=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.0f}%"))
    axes.set_xlim(0, 1)
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.spines["left"].set_visible(False)
    _legend_below(figure, columns)
    return figure


def first_against_last(cycles: CyclesFigure) -> Figure:
    """Every curve's first AUC (x) and last (y), by initial strategy (the paper's Figs. 14 to 16)."""
    names = list(cycles.pairs)
    look = looks(names)
    figure, axes = canvas(0.5 + 2.6 + _legend_height(names), NARROW_IN)
    for name, pairs in cycles.pairs.items():
        first, last = np.array(pairs, np.float64).reshape(-1, 2).T
        each = look[name]
        axes.scatter(
            first, last, s=58, color=each.colour, marker=each.marker, edgecolors="white", linewidths=0.7,
            zorder=each.over, label=name,
        )  # fmt: skip
    every = np.array([pair for pairs in cycles.pairs.values() for pair in pairs], np.float64)
    if cycles.r is not None:
        slope, offset = np.polyfit(every[:, 0], every[:, 1], 1)
        ends = np.array([every[:, 0].min(), every[:, 0].max()])
        axes.plot(ends, slope * ends + offset, color=MUTED, linewidth=1.2, dashes=(4, 3), zorder=1, gid="fit")
    _values(axes, "AUC at the end (%)")
    axes.set_xlabel("AUC at the start (%)", fontsize=10, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    _legend_below(figure, _columns(names))
    return figure


def _line(axes: Axes, curve: Curve, look: Look) -> None:
    x, mean, std = (np.array(each, np.float64) for each in (curve.x, curve.mean, curve.std))
    if len(x) == 1:  # no band to see
        axes.errorbar(x, mean, yerr=std, fmt="none", ecolor=look.colour, elinewidth=1.2, capsize=3)
    axes.fill_between(x, mean - std, mean + std, color=look.colour, alpha=0.13, linewidth=0, zorder=1, gid=curve.name)
    axes.plot(
        x, mean, color=look.colour, linestyle=look.dash, linewidth=look.width, marker=look.marker, markersize=5,
        zorder=look.over, label=curve.name,
    )  # fmt: skip


def _values(axes: Axes, label: str, most: float | None = None) -> None:
    """``most``: nothing can be above it, so no band is drawn there."""
    style(axes, "", "")
    name_above(axes, label)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    low, high = axes.get_ylim()
    if most is not None and high > most:
        axes.set_ylim(low, most + 0.015 * (most - low))


def _budgets(axes: Axes, at: Sequence[float], xlabel: str, *, log: bool) -> None:
    """An axis that names what was measured, as far as there is room."""
    style(axes, xlabel, "")
    if log:
        axes.set_xscale("log")
    positions = np.log(at) if log else np.array(at, np.float64)
    span = max(float(np.ptp(positions)), 1e-12)
    written: list[int] = []
    for number in range(len(at)):
        if not written or (positions[number] - positions[written[-1]]) / span >= _TICKS_APART:
            written.append(number)
    axes.xaxis.set_major_locator(FixedLocator([at[number] for number in written]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))


def _names(panels: Sequence[Panel]) -> list[str]:
    return list(dict.fromkeys(curve.name for panel in panels for curve in panel.curves))


def _columns(names: Sequence[str]) -> int:
    longest = max(map(len, names), default=0)
    return 1 if longest > _LONG_NAME else 2 if longest > _SHORT_NAME else 3


def _legend_height(names: Sequence[str]) -> float:
    return _LEGEND_ROW_IN * -(-len(names) // _columns(names))


def _legend(figure: Figure, names: Sequence[str], look: dict[str, Look], *, line: bool = True) -> None:
    handles = [
        Line2D(
            [], [], color=look[name].colour, linestyle=look[name].dash if line else "", linewidth=look[name].width,
            marker=look[name].marker, markersize=5 if line else 7, label=name,
        )
        for name in names
    ]  # fmt: skip
    _legend_below(figure, _columns(names), handles=handles)


def _legend_below(figure: Figure, columns: int, **more: Any) -> None:
    figure.legend(
        loc="outside lower center", ncols=columns, frameon=False, fontsize=10, labelcolor=INK,
        handletextpad=0.5, columnspacing=1.3, handlelength=2.1, labelspacing=0.35, **more,
    )  # fmt: skip


def _class_colour(number: int, classes: int) -> tuple[float, float, float]:
    """Around the circle of hues, neighbours apart in lightness."""
    return colorsys.hls_to_rgb((0.58 + number / classes) % 1.0, (0.45, 0.68, 0.57)[number % 3], 0.42)
