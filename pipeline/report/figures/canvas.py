"""What all figures share: size, colours, axes, and the way to bytes. No pyplot, so no global state."""

from __future__ import annotations

import io

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

CSS_DPI = 100
WIDTH_IN = 5.6
NARROW_IN = 4.6
"""Of figures with many names: the page shows them as large, and so their letters larger."""
QUERY = "#d9480f"
INK = "#22303c"
MUTED = "#5d6b78"
BAR = "#9fb3c4"
LINE = "#2b6a99"
GRID = "#e6ebf0"


def blank(height_in: float, width_in: float = WIDTH_IN) -> Figure:
    """An empty figure."""
    figure = Figure(figsize=(width_in, height_in), dpi=CSS_DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def canvas(height_in: float, width_in: float = WIDTH_IN) -> tuple[Figure, Axes]:
    """A figure with one pair of axes."""
    figure = blank(height_in, width_in)
    return figure, figure.subplots()


def style(axes: Axes, xlabel: str, ylabel: str) -> None:
    """The look of all axes."""
    axes.set_xlabel(xlabel, fontsize=10, color=INK)
    axes.set_ylabel(ylabel, fontsize=10, color=INK)
    axes.tick_params(labelsize=9, colors=MUTED, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#b9c4ce")
    axes.set_axisbelow(True)


def name_above(axes: Axes, name: str) -> None:
    """The name of the values above their axis, not beside: low panels and phones have no room along the side."""
    axes.set_title(name, loc="left", fontsize=10, color=INK, pad=4)
    axes.grid(axis="y", color=GRID, linewidth=0.8)


def png(figure: Figure) -> bytes:
    """The figure as a PNG at two pixels a CSS pixel; the same figure gives the same bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=2 * CSS_DPI, metadata={"Software": None})
    return stream.getvalue()


def pdf(figure: Figure) -> bytes:
    """The figure as a PDF with its letters as letters; the same figure gives the same bytes."""
    stream = io.BytesIO()
    with matplotlib.rc_context({"pdf.fonttype": 42}):  # TrueType: journals refuse the default
        figure.savefig(stream, format="pdf", metadata={"CreationDate": None, "Creator": None, "Producer": None})
    return stream.getvalue()


def svg(figure: Figure) -> bytes:
    """The figure as an SVG with its letters as outlines, so that it looks the same everywhere."""
    stream = io.BytesIO()
    # Element names are random without a salt, and the page would differ from run to run.
    with matplotlib.rc_context({"svg.hashsalt": "hacon"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()
