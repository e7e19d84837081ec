"""The report's figures. The only module that imports matplotlib; no pyplot, so no global state.

Every function returns a ``Figure`` about 560 CSS pixels wide; ``png`` and ``svg`` turn it into
bytes. In all of them orange is the query and blue-grey is the pool. N = images in the pool,
M = points on the embedding map, K = clusters, E = epochs.
"""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from pipeline.artifacts import Float32, Float64, Int64

CSS_DPI = 100
WIDTH_IN = 5.6
QUERY = "#d9480f"
INK = "#22303c"
MUTED = "#5d6b78"
BAR = "#9fb3c4"
LINE = "#2b6a99"
POOL_COLOURS = LinearSegmentedColormap.from_list("pool", ["#e3ebf2", "#a9c3d9", "#5688b0", "#1f4e79", "#0c2a47"])
NAMED_CLUSTERS = 40
"""With more clusters than this their numbers would be a blur, and are left out."""


def dataset_map(confidence: Float64, variability: Float64, selected: NDArray[np.bool_]) -> Figure:
    """The paper's dataset map: density of the pool over variability (x) and confidence (y), the query on top.

    Args:
        confidence, variability: (N,), Eq. 3; images without a finite value are left out.
        selected: (N,), true for the query.
    """
    known = np.isfinite(confidence) & np.isfinite(variability)
    x, y, chosen = variability[known], confidence[known], selected[known]
    figure, axes = _figure(4.9)
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
    _mark(axes, x[chosen], y[chosen])
    # The names of the regions sit in bands of their own, where no image can be.
    width, height = x_high - x_low, y_high - y_low
    axes.set_xlim(x_low - 0.04 * width, x_high + 0.10 * width)
    axes.set_ylim(y_low - 0.13 * height, y_high + 0.13 * height)
    region: dict[str, Any] = {"transform": axes.transAxes, "fontsize": 10, "color": INK, "weight": "bold"}
    axes.text(0.02, 0.975, "easy-to-contrast: stands out", va="top", **region)
    axes.text(0.02, 0.025, "hard-to-contrast: looks like the rest", va="bottom", **region)
    axes.text(0.985, 0.5, "ambiguous", va="center", ha="right", rotation=270, **region)
    _style(axes, "variability over the epochs", "confidence")
    axes.set_xticks([tick for tick in axes.get_xticks() if x_low <= tick <= x_high])
    axes.set_yticks([tick for tick in axes.get_yticks() if y_low <= tick <= y_high])
    return figure


def embedding_map(points: Float32, cluster: NDArray[np.integer], selected: NDArray[np.bool_]) -> Figure:
    """The features in the plane, coloured by cluster, the query on top.

    Args:
        points: (M, 2). cluster: (M,). selected: (M,), true for the query.
    """
    figure, axes = _figure(4.9)
    names = np.unique(cluster)
    size = float(np.clip(20_000 / max(len(points), 1), 5, 36))
    for order, name in enumerate(names):
        x, y = points[cluster == name].T
        axes.scatter(x, y, s=size, color=_cluster_colour(order), alpha=0.75, linewidths=0)
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
    _style(axes, "", "")
    axes.set_xticks([])
    axes.set_yticks([])
    return figure


def training_curve(
    epochs: Sequence[float], loss: Sequence[float], rate: Sequence[float], accuracy: Sequence[float] | None
) -> Figure:
    """Loss (and accuracy of telling images apart, where it was recorded) and learning rate, over E epochs."""
    panels = [("loss", loss, LINE), ("learning rate", rate, MUTED)]
    if accuracy is not None:
        panels.insert(1, ("images told apart", accuracy, LINE))
    heights = [2.2, *[1.1] * (len(panels) - 1)]
    figure = Figure(figsize=(WIDTH_IN, 4.4), dpi=CSS_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(panels), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for axes, (label, values, colour) in zip(rows, panels, strict=True):
        axes.plot(epochs, values, color=colour, linewidth=1.8, marker="o" if len(epochs) <= 30 else "", markersize=3.5)
        _style(axes, "", "")
        # Above, not beside: low panels have no room for a name along their side.
        axes.set_title(label, loc="left", fontsize=10, color=INK, pad=4)
        axes.yaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="y", color="#e6ebf0", linewidth=0.8)
    rows[-1].set_xlabel("epoch", fontsize=10, color=INK)
    rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    rows[-1].set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    return figure


def cluster_bars(sizes: Int64, picks: Int64) -> Figure:
    """Images (above) and picks (below) of every cluster, the largest first.

    Args:
        sizes, picks: (K,), counts by cluster number.
    """
    order = np.argsort(-sizes, kind="stable")
    place = np.arange(len(sizes))
    figure = Figure(figsize=(WIDTH_IN, 4.4), dpi=CSS_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.6, 1])
    above.bar(place, sizes[order], width=0.8, color=BAR)
    below.bar(place, picks[order], width=0.8, color=QUERY)
    _style(above, "", "images in the cluster")
    _style(below, "cluster, largest first", "picked")
    for axes in (above, below):
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    above.set_ylim(bottom=0)
    below.set_ylim(0, max(1.0, float(picks.max(initial=1)) * 1.1))
    named = len(sizes) <= NAMED_CLUSTERS
    below.set_xticks(place if named else [], [str(k) for k in order] if named else [])
    few = len(sizes) <= 16
    below.tick_params(axis="x", labelsize=10 if few else 8, rotation=0 if few else 90)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG at two pixels a CSS pixel; the same figure gives the same bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=2 * CSS_DPI, metadata={"Software": None})
    return stream.getvalue()


def svg(figure: Figure) -> bytes:
    """The figure as an SVG with its letters as outlines, so that it looks the same everywhere."""
    stream = io.BytesIO()
    # Element names are random without a salt, and the page would differ from run to run.
    with matplotlib.rc_context({"svg.hashsalt": "hacon"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def _figure(height_in: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH_IN, height_in), dpi=CSS_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _style(axes: Axes, xlabel: str, ylabel: str) -> None:
    axes.set_xlabel(xlabel, fontsize=10, color=INK)
    axes.set_ylabel(ylabel, fontsize=10, color=INK)
    axes.tick_params(labelsize=9, colors=MUTED, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#b9c4ce")
    axes.set_axisbelow(True)


def _mark(axes: Axes, x: NDArray[np.floating], y: NDArray[np.floating]) -> None:
    """The query's points: smaller where there are many."""
    size = float(np.clip(2400 / max(len(x), 1), 14, 70))
    edge = 0.9 if len(x) <= 60 else 0.4
    axes.scatter(x, y, s=size, color=QUERY, edgecolors="white", linewidths=edge, zorder=4, gid="query")


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
