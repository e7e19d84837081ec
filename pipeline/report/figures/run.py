"""Figures of one run: its training, its clusters. K = clusters, E = epochs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.artifacts import Int64
from pipeline.report.figures.canvas import BAR, LINE, MUTED, QUERY, blank, name_above, style
from pipeline.report.figures.maps import NAMED_CLUSTERS


def training_curve(
    epochs: Sequence[float], loss: Sequence[float], rate: Sequence[float], accuracy: Sequence[float] | None
) -> Figure:
    """Loss (and accuracy of telling images apart, where it was recorded) and learning rate, over E epochs."""
    panels = [("loss", loss, LINE), ("learning rate", rate, MUTED)]
    if accuracy is not None:
        panels.insert(1, ("top-1 accuracy", accuracy, LINE))
    heights = [2.2, *[1.1] * (len(panels) - 1)]
    figure = blank(4.4)
    rows = figure.subplots(len(panels), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for axes, (label, values, colour) in zip(rows, panels, strict=True):
        axes.plot(epochs, values, color=colour, linewidth=1.8, marker="o" if len(epochs) <= 30 else "", markersize=3.5)
        style(axes, "", "")
        name_above(axes, label)
        axes.yaxis.set_major_locator(MaxNLocator(4))
    style(rows[-1], "epoch", "")
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
    figure = blank(4.4)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.6, 1])
    above.bar(place, sizes[order], width=0.8, color=BAR)
    below.bar(place, picks[order], width=0.8, color=QUERY)
    style(above, "", "images in the cluster")
    style(below, "cluster, largest first", "picked")
    for axes in (above, below):
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    above.set_ylim(bottom=0)
    below.set_ylim(0, max(1.0, float(picks.max(initial=1)) * 1.1))
    named = len(sizes) <= NAMED_CLUSTERS
    below.set_xticks(place if named else [], [str(k) for k in order] if named else [])
    few = len(sizes) <= 16
    below.tick_params(axis="x", labelsize=10 if few else 8, rotation=0 if few else 90)
    return figure
