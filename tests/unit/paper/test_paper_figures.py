"""What the figures of benchmark and cycles draw, read back from their axes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.figure import Figure

from pipeline.paper import drawing
from pipeline.paper.data import Curve, CyclesFigure, FeatureMap, LabelBar, Panel, PaperTable, PoolMap
from pipeline.report import figures

pytestmark = pytest.mark.slow

CURVES = (
    Curve("hard-to-contrast", (11, 23, 59), (80.0, 85.0, 91.0), (2.0, 1.0, 0.5)),
    Curve("random", (23, 59), (83.0, 90.0), (3.0, 0.0)),
)
CYCLES = CyclesFigure(
    "margin",
    (Curve("random", (20, 50), (80.0, 90.0), (1.0, 1.0)),),
    {"random": ((80.0, 90.0), (82.0, 91.0)), "coreset": ((78.0, 86.0),)},
    r=0.98,
    p=0.01,
    points=3,
    paper_r=0.70,
)


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def points(axes: Axes) -> dict[str, list[list[float]]]:
    """Scattered points by label."""
    return {
        str(each.get_label()): np.asarray(each.get_offsets()).tolist()
        for each in axes.collections
        if isinstance(each, PathCollection)
    }


def test_curves_are_means_with_a_standard_deviation_to_either_side() -> None:
    figure = drawing.curves([Panel("AUC", CURVES)], "images")
    axes = figure.axes[0]
    lines = {str(line.get_label()): line for line in axes.lines}
    assert list(lines["hard-to-contrast"].get_xdata()) == [11, 23, 59]
    assert list(lines["hard-to-contrast"].get_ydata()) == [80, 85, 91]
    assert list(lines["random"].get_xdata()) == [23, 59]
    bands = {str(c.get_gid()): c.get_paths()[0].vertices for c in axes.collections if isinstance(c, PolyCollection)}
    assert {tuple(corner) for corner in bands["hard-to-contrast"]} == {
        *((11, 78), (11, 82), (23, 84), (23, 86), (59, 90.5), (59, 91.5))
    }
    assert legend(figure) == ["hard-to-contrast", "random"]
    assert axes.get_xscale() == "log"
    figure.canvas.draw()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["11", "23", "59"]


def test_nothing_is_drawn_above_what_can_be() -> None:
    curve = Curve("random", (1, 2), (0.5, 1.0), (0.3, 0.2))
    free, bounded = (drawing.curves([Panel("share", (curve,), most)], "x").axes[0] for most in (None, 1.0))
    assert free.get_ylim()[1] > 1.1 and 1 < bounded.get_ylim()[1] < 1.02


def test_a_single_point_shows_its_spread() -> None:
    axes = drawing.curves([Panel("AUC", (Curve("random", (59,), (90.0,), (2.0,)),))], "x").axes[0]
    (bar,) = axes.containers[0].lines[2]
    assert bar.get_segments()[0][:, 1].tolist() == [88.0, 92.0]


def test_a_strategy_looks_alike_in_every_panel_and_unlike_all_others() -> None:
    names = ["random", "hard-to-contrast", *(f"s{number}" for number in range(22))]
    many = tuple(Curve(name, (1, 2), (0, 1), (0, 0)) for name in names)
    above, below = drawing.curves([Panel("a", many), Panel("b", many[::-1])], "x").axes
    looks = [
        {str(line.get_label()): (line.get_color(), line.get_marker(), line.get_linestyle()) for line in axes.lines}
        for axes in (above, below)
    ]
    assert looks[0] == looks[1]
    assert len({(colour, marker, dash) for colour, marker, dash in looks[0].values()}) >= 22


def test_crowded_budgets_are_not_written_over_each_other() -> None:
    curve = Curve("random", (10, 100, 101, 1000), (1, 2, 3, 4), (0, 0, 0, 0))
    figure = drawing.curves([Panel("AUC", (curve,))], "images")
    figure.canvas.draw()
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["10", "100", "1,000"]


def test_dots_stand_at_their_budget_with_their_spread() -> None:
    figure = drawing.dots([Panel("AUC", CURVES), Panel("covered", CURVES[:1])], "images")
    above, below = figure.axes
    assert [label.get_text() for label in below.get_xticklabels()] == ["11", "23", "59"]
    first, second = above.containers
    # Two names share the 0.72 about each budget's place.
    np.testing.assert_allclose(np.array(first.lines[0].get_xdata(), float), [-0.18, 0.82, 1.82])
    np.testing.assert_allclose(np.array(second.lines[0].get_xdata(), float), [1.18, 2.18])
    ends = np.array([segment[:, 1] for segment in first.lines[2][0].get_segments()])
    np.testing.assert_allclose(ends, [[78, 82], [84, 86], [90.5, 91.5]])
    assert len(below.containers) == 1


def test_label_bars_are_shares_of_the_query() -> None:
    bars = [LabelBar("the pool", (60, 30, 10), "3/3"), LabelBar("random", (3, 0, 1), "2/3  0.81")]
    figure = drawing.label_bars(bars, ["a", "b", "c"])
    axes = figure.axes[0]
    widths = [[patch.get_width() for patch in container] for container in axes.containers]
    np.testing.assert_allclose(np.transpose(widths), [[0.6, 0.3, 0.1], [0.75, 0, 0.25]])
    starts = [[patch.get_x() for patch in container] for container in axes.containers]
    np.testing.assert_allclose(np.transpose(starts), [[0, 0.6, 0.9], [0, 0.75, 0.75]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["the pool", "random"]
    assert [text.get_text() for text in axes.texts] == ["3/3", "2/3  0.81"]
    assert legend(figure) == ["a", "b", "c"]


def test_first_against_last_has_every_trial_and_a_line_where_there_is_a_correlation() -> None:
    axes = drawing.first_against_last(CYCLES).axes[0]
    assert points(axes) == {"random": [[80, 90], [82, 91]], "coreset": [[78, 86]]}
    (fit,) = [line for line in axes.lines if line.get_gid() == "fit"]
    # Least squares by hand: means 80 and 89; sum of dx dy = 0*1 + 2*2 + (-2)(-3) = 10, of dx^2 = 8.
    np.testing.assert_allclose(fit.get_ydata(), [89 - 2 * 10 / 8, 89 + 2 * 10 / 8])
    assert not drawing.first_against_last(replace(CYCLES, r=None, p=None)).axes[0].lines


def test_region_map_marks_each_selection_with_variability_across() -> None:
    mean, std = np.array([0.1, 0.9, 0.5, np.nan]), np.array([0.01, 0.02, 0.2, 0.1])
    masks = {
        "hard": np.array([True, False, False, True]),
        "easy": np.array([False, True, False, False]),
        "ambiguous": np.array([False, False, True, False]),
    }
    figure = figures.region_map(mean, std, masks, ("top", "bottom"), "confidence")
    assert points(figure.axes[0]) == {"hard": [[0.01, 0.1]], "easy": [[0.02, 0.9]], "ambiguous": [[0.2, 0.5]]}
    assert legend(figure) == ["hard", "easy", "ambiguous"]
    marks = [each for each in figure.axes[0].collections if isinstance(each, PathCollection)]
    assert len({tuple(each.get_facecolor()[0]) for each in marks}) == 3


def test_selection_map_marks_over_all_points() -> None:
    places = np.arange(10, dtype=np.float32).reshape(5, 2)
    figure = figures.selection_map(places, {"hard": np.arange(5) < 2, "easy": np.arange(5) == 4})
    pool, *marks = figure.axes[0].collections
    assert np.asarray(pool.get_offsets()).tolist() == places.tolist()
    assert [np.asarray(each.get_offsets()).tolist() for each in marks] == [places[:2].tolist(), [[8, 9]]]
    assert legend(figure) == ["hard", "easy"]


def test_bytes_follow_the_data_and_nothing_else() -> None:
    def draw(mean: float) -> bytes:
        curve = Curve("random", (1, 2), (mean, 4), (0, 0))
        return figures.svg(drawing.curves([Panel("AUC", (curve,))], "images"))

    assert draw(3) == draw(3) != draw(3.5)
    assert figures.svg(drawing.first_against_last(CYCLES)) == figures.svg(drawing.first_against_last(CYCLES))


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"the curve 'x' has columns of \[2, 1, 2\]"):
        Curve("x", (1, 2), (1,), (0, 0))
    with pytest.raises(ValueError, match="a row of 1 cells under a header of 2: 'a'"):
        PaperTable("t", ("x", "y"), (("a",),))
    with pytest.raises(ValueError, match=r"PoolMap differ in length: \[2, 2, 3\]"):
        PoolMap("contrast", np.zeros(2), np.zeros(2), {"a": np.zeros(3, bool)})
    with pytest.raises(ValueError, match=r"FeatureMap differ in length: \[2, 3\]"):
        FeatureMap(np.zeros((2, 2), np.float32), {"a": np.zeros(3, bool)})
