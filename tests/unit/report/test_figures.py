"""What the figures mark, read back from their axes; and that their bytes are pictures of the stated size."""

from __future__ import annotations

import io
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.figure import Figure
from PIL import Image

from pipeline.report import figures

pytestmark = pytest.mark.slow


def marked(figure: Figure) -> np.ndarray:
    """(n, 2) places of the query's points."""
    (points,) = [c for c in figure.axes[0].collections if isinstance(c, PathCollection) and c.get_gid() == "query"]
    return np.asarray(points.get_offsets())


def test_dataset_map_marks_the_query_with_variability_across_and_confidence_up() -> None:
    confidence = np.array([0.1, 0.9, 0.5, 0.3, np.nan])
    variability = np.array([0.01, 0.02, 0.2, 0.15, 0.1])
    selected = np.array([True, False, False, True, True])
    figure = figures.dataset_map(confidence, variability, selected)
    # The image without a confidence has no place on the map.
    assert marked(figure).tolist() == [[0.01, 0.1], [0.15, 0.3]]
    axes = figure.axes[0]
    assert "variability" in axes.get_xlabel() and "confidence" in axes.get_ylabel()


def test_dataset_map_counts_every_image_of_the_pool() -> None:
    rng = np.random.default_rng(0)
    confidence, variability = rng.random(500), rng.random(500)
    figure = figures.dataset_map(confidence, variability, np.zeros(500, bool))
    (density,) = [c for c in figure.axes[0].collections if isinstance(c, PolyCollection)]
    assert np.asarray(density.get_array()).sum() == 500


def test_dataset_map_names_the_regions_where_they_are_and_clear_of_the_points() -> None:
    rng = np.random.default_rng(0)
    confidence, variability = rng.random(500), rng.random(500)
    figure = figures.dataset_map(confidence, variability, confidence < 0.02)
    figure.canvas.draw()
    axes = figure.axes[0]
    names = {text.get_text().partition(":")[0]: text.get_window_extent() for text in axes.texts}
    assert names.keys() == {"easy-to-contrast", "hard-to-contrast", "ambiguous"}
    low, high = axes.transData.transform([[0, confidence.min()], [0, confidence.max()]])[:, 1]
    right = axes.transData.transform([variability.max(), 0])[0]
    assert names["hard-to-contrast"].y1 < low and names["easy-to-contrast"].y0 > high
    assert names["ambiguous"].x0 > right - 5


@pytest.mark.parametrize("values", [np.full(3, 0.5), np.array([0.5]), np.array([]), np.array([np.nan])])
def test_dataset_map_of_pools_without_a_spread(values: np.ndarray) -> None:
    figure = figures.dataset_map(values, values, np.ones(len(values), bool))
    assert len(marked(figure)) == np.isfinite(values).sum()
    assert figures.png(figure).startswith(b"\x89PNG")


def test_embedding_map_marks_the_query_and_colours_the_clusters() -> None:
    points = np.arange(20, dtype=np.float32).reshape(10, 2)
    cluster = np.array([4, 4, 4, 7, 7, 7, 9, 9, 9, 9])
    selected = np.arange(10) % 4 == 0
    figure = figures.embedding_map(points, cluster, selected)
    assert marked(figure).tolist() == points[[0, 4, 8]].tolist()
    dots = [c for c in figure.axes[0].collections if c.get_gid() != "query"]
    assert [len(np.asarray(c.get_offsets())) for c in dots] == [3, 3, 4]
    assert len({tuple(c.get_facecolor()[0]) for c in dots}) == 3
    assert {t.get_text(): t.get_position() for t in figure.axes[0].texts} == {
        "4": (2.0, 3.0),
        "7": (8.0, 9.0),
        "9": (15.0, 16.0),
    }


def test_cluster_bars_stand_by_size() -> None:
    figure = figures.cluster_bars(np.array([5, 20, 0, 9]), np.array([2, 1, 0, 3]))
    above, below = figure.axes
    assert [bar.get_height() for bar in above.patches] == [20, 9, 5, 0]
    assert [bar.get_height() for bar in below.patches] == [1, 3, 2, 0]
    assert [label.get_text() for label in below.get_xticklabels()] == ["1", "3", "0", "2"]


@pytest.mark.parametrize("accuracy", [None, [0.1, 0.5, 0.75]])
def test_training_curve_draws_what_was_recorded(accuracy: list[float] | None) -> None:
    epochs, loss, rate = [1, 2, 3], [8.0, 7.0, 6.5], [0.01, 0.03, 0.0]
    drawn = [axes.lines[0] for axes in figures.training_curve(epochs, loss, rate, accuracy).axes]
    assert [list(line.get_xdata()) for line in drawn] == [epochs] * len(drawn)
    assert [list(line.get_ydata()) for line in drawn] == [loss, *([accuracy] if accuracy else []), rate]


def test_png_has_two_pixels_a_css_pixel_and_is_the_same_every_time() -> None:
    def draw() -> bytes:
        return figures.png(figures.dataset_map(np.linspace(0, 1, 50), np.linspace(0, 0.3, 50), np.arange(50) < 5))

    image = Image.open(io.BytesIO(draw()))
    image.load()
    assert image.format == "PNG" and image.size == (1120, 980)
    assert draw() == draw()


def test_svg_is_whole_small_and_the_same_every_time() -> None:
    def draw() -> bytes:
        return figures.svg(figures.training_curve([1, 2], [3.0, 2.0], [0.1, 0.0], None))

    root = ElementTree.fromstring(draw())
    assert root.tag.endswith("}svg")
    # Points: 5.6 x 4.4 inches.
    assert float(root.attrib["width"].removesuffix("pt")) == pytest.approx(403.2)
    assert float(root.attrib["height"].removesuffix("pt")) == pytest.approx(316.8)
    # Letters are outlines, so no font is asked for.
    assert b"<text" not in draw() and b"font-family" not in draw()
    assert draw() == draw() and len(draw()) < 60_000


def test_no_pyplot() -> None:
    figures.png(figures.cluster_bars(np.array([1]), np.array([1])))
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
