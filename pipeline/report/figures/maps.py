"""Maps of the pool: the paper's dataset map, and the features in the plane.

In all of them blue-grey is the pool. N = images in the pool, M = points on the embedding map, K = clusters.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from pipeline.artifacts import Float32, Float64
from pipeline.report.figures.canvas import BAR, INK, MUTED, QUERY, canvas, style

POOL_COLOURS = LinearSegmentedColormap.from_list("pool", ["#e3ebf2", "#a9c3d9", "#5688b0", "#1f4e79", "#0c2a47"])
NAMED_CLUSTERS = 40
"""With more clusters than this their numbers would be a blur, and are left out."""
_REGION_MARKS = ((QUERY, "o"), ("#0b8a6a", "^"), ("#8b2fa0", "D"))
"""Colour and shape of up to three selections on one map: hard, easy, ambiguous; the first lie on top."""

Mask = NDArray[np.bool_]


def dataset_map(confidence: Float64, variability: Float64, selected: Mask) -> Figure:
    """The paper's dataset map: density of the pool over variability (x) and confidence (y), the query on top.

    Args:
        confidence, variability: (N,), Eq. 3; images without a finite value are left out.
        selected: (N,), true for the query.
    """
    figure, axes = canvas(4.9)
    names = ("easy-to-contrast: high confidence", "hard-to-contrast: low confidence")
    known = _density(figure, axes, confidence, variability, names)
    chosen = known & selected
    _mark(axes, variability[chosen], confidence[chosen])
    style(axes, "variability over the epochs", "confidence")
    return figure


def region_map(mean: Float64, std: Float64, regions: Mapping[str, Mask], names: tuple[str, str], ylabel: str) -> Figure:
    """A dataset map with three selections marked (the paper's Figs. 4, 12, 13).

    Args:
        mean, std: (N,), over the epochs; images without a finite value are left out.
        regions: up to three masks (N,) by name: hard, easy, ambiguous.
        names: of the map's upper and lower end.
    """
    figure, axes = canvas(5.3)
    known = _density(figure, axes, mean, std, names)
    for place, (name, mask) in enumerate(regions.items()):
        _mark(axes, std[known & mask], mean[known & mask], *_REGION_MARKS[place], name=name, over=9 - place)
    style(axes, "variability over the epochs", ylabel)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=10, handletextpad=0.3, columnspacing=1.2)
    return figure


def embedding_map(points: Float32, cluster: NDArray[np.integer], selected: Mask) -> Figure:
    """The features in the plane, coloured by cluster, the query on top.

    Args:
        points: (M, 2). cluster: (M,). selected: (M,), true for the query.
    """
    figure, axes = canvas(4.9)
    names = np.unique(cluster)
    for order, name in enumerate(names):
        x, y = points[cluster == name].T
        axes.scatter(x, y, s=_dot_size(len(points)), color=_cluster_colour(order), alpha=0.75, linewidths=0)
    _mark(axes, points[selected, 0], points[selected, 1])
    if len(names) <= NAMED_CLUSTERS:
        for name in names:
            at = np.median(points[cluster == name], axis=0)
            halo = [withStroke(linewidth=2.5, foreground="white")]
            axes.text(
                at[0],
                at[1],
                str(name),
                fontsize=9,
                weight="bold",
                color=INK,
                ha="center",
                va="center",
                path_effects=halo,
            )
    _no_ticks(axes)
    return figure


def selection_map(points: Float32, selections: Mapping[str, Mask]) -> Figure:
    """The features in the plane with up to three selections marked (the paper's Fig. 9).

    Args:
        points: (M, 2). selections: masks (M,) by name: hard, easy, ambiguous.
    """
    figure, axes = canvas(5.3)
    axes.scatter(points[:, 0], points[:, 1], s=_dot_size(len(points)), color=BAR, alpha=0.6, linewidths=0)
    for place, (name, mask) in enumerate(selections.items()):
        _mark(axes, points[mask, 0], points[mask, 1], *_REGION_MARKS[place], name=name, over=9 - place)
    _no_ticks(axes)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=10, handletextpad=0.3, columnspacing=1.2)
    return figure


def _density(figure: Figure, axes: Axes, mean: Float64, std: Float64, names: tuple[str, str]) -> Mask:
    """Cells by how many images they hold, and the names of the regions; returns who has a place (N,)."""
    known = np.isfinite(mean) & np.isfinite(std)
    x, y = std[known], mean[known]
    x_low, x_high = _span(x)
    y_low, y_high = _span(y)
    if len(x):
        cells = int(np.clip(np.sqrt(len(x)) / 1.6, 12, 60))
        density = axes.hexbin(
            x, y, gridsize=(cells, max(7, cells * 3 // 5)), extent=(x_low, x_high, y_low, y_high), mincnt=1,
            cmap=POOL_COLOURS, linewidths=0.2, edgecolors="face",
        )  # fmt: skip
        density.set_norm(LogNorm(1, max(2.0, float(np.max(np.asarray(density.get_array()))))))
        bar = figure.colorbar(density, ax=axes, pad=0.02, aspect=32, shrink=0.8)
        bar.set_label("images in a cell (log scale)", fontsize=9, color=MUTED)
        bar.set_ticks(LogLocator(subs=(1.0, 2.0, 5.0)))
        bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=8.5, colors=MUTED)
    # The names of the regions sit in bands of their own, where no image can be.
    width, height = x_high - x_low, y_high - y_low
    axes.set_xlim(x_low - 0.04 * width, x_high + 0.10 * width)
    axes.set_ylim(y_low - 0.13 * height, y_high + 0.13 * height)
    region: dict[str, Any] = {"transform": axes.transAxes, "fontsize": 10, "color": INK, "weight": "bold"}
    axes.text(0.02, 0.975, names[0], va="top", **region)
    axes.text(0.02, 0.025, names[1], va="bottom", **region)
    axes.text(0.985, 0.5, "ambiguous", va="center", ha="right", rotation=270, **region)
    axes.set_xticks([tick for tick in axes.get_xticks() if x_low <= tick <= x_high])
    axes.set_yticks([tick for tick in axes.get_yticks() if y_low <= tick <= y_high])
    return known


def _mark(
    axes: Axes,
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    colour: str = QUERY,
    marker: str = "o",
    name: str = "query",
    over: int = 4,
) -> None:
    """A selection's points: smaller where there are many."""
    size = float(np.clip(2400 / max(len(x), 1), 14, 70))
    edge = 0.9 if len(x) <= 60 else 0.4
    axes.scatter(
        x,
        y,
        s=size,
        color=colour,
        marker=marker,
        edgecolors="white",
        linewidths=edge,
        zorder=over,
        gid=name,
        label=name,
    )


def _no_ticks(axes: Axes) -> None:
    style(axes, "", "")
    axes.set_xticks([])
    axes.set_yticks([])


def _dot_size(points: int) -> float:
    return float(np.clip(20_000 / max(points, 1), 5, 36))


def _span(values: Float64) -> tuple[float, float]:
    """Lowest and highest value, apart even where all are equal."""
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _cluster_colour(order: int) -> tuple[float, float, float]:
    """Pale colours a golden angle apart, without the orange that marks the query."""
    hue = 0.14 + 0.82 * ((order * 0.618034) % 1.0)
    return colorsys.hls_to_rgb(hue, (0.62, 0.74, 0.5)[order % 3], 0.5)
