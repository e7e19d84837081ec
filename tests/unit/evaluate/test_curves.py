"""Curves as a table and as lines."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from pipeline.evaluate.curves import correlation_table, curves_csv, curves_table
from pipeline.evaluate.cycles import CyclePoint, CycleResult, CycleSpec


def curve(initial: str, seed: int, first: float, last: float, **flags: bool) -> CycleResult:
    """Two points."""
    spec = CycleSpec(initial, "margin", seed, start=20, step=30, end=50)
    points = tuple(CyclePoint(size, auc, 60.0, 55.0, 0.5, 1.5) for size, auc in ((20, first), (50, last)))
    known = {"oracle": False, "saw_test": False, **flags}
    return CycleResult(spec, points, (1, seed), 3.0, note="", **known)


RESULTS = [
    curve("random", 0, 70.0, 90.0),
    curve("random", 1, 80.0, 92.0),
    curve("entropy", 0, 60.0, 85.0, saw_test=True),
]


def test_the_table_has_mean_and_spread_at_each_size() -> None:
    table = curves_table(RESULTS)
    assert table.header == ("later strategy", "first strategy", "classifier", "trials", "20", "50")
    # By hand: the sample standard deviation of two values is their distance over the root of 2.
    assert table.rows == (
        ("margin", "entropy†", "probe", "1", "60.0", "85.0"),
        ("margin", "random", "probe", "2", "75.0 ± 7.1", "91.0 ± 1.4"),
    )
    assert any(note.startswith("†") for note in table.notes) and not any(note.startswith("‡") for note in table.notes)


def test_the_lines_are_the_points() -> None:
    rows = list(csv.DictReader(io.StringIO(curves_csv(RESULTS))))
    assert len(rows) == 6
    assert rows[3] == {
        **{"initial": "random", "later": "margin", "seed": "1", "classifier": "probe", "labelled": "50"},
        **{"start": "20", "step": "30", "end": "50", "k": "", "temperature": "0.05", "scorer": "test"},
        **{"auc": "92.0", "accuracy": "60.0", "balanced_accuracy": "55.0", "covered": "0.5", "entropy": "1.5"},
    }


def test_correlations_beside_the_papers() -> None:
    results = [curve("random", 0, 60.0, 80.0), curve("random", 1, 70.0, 82.0), curve("coreset", 2, 80.0, 90.0)]
    expected = np.corrcoef([60, 70, 80], [80, 82, 90])[0, 1]
    (row,) = correlation_table(results).rows
    assert row[:2] == ("margin", "probe") and row[2] == f"{expected:.2f}" and row[4:] == ("3", "3", "0.70")
    (few,) = correlation_table(results[:2]).rows
    assert few == ("margin", "probe", "-", "-", "-", "2", "0.70")
    assert correlation_table([]).rows == ()


def test_curves_of_different_kinds_are_kept_apart() -> None:
    """What joins two classifiers or sizes correlates by their difference alone."""
    strong = [
        replace(
            each,
            spec=replace(each.spec, classifier="finetune"),
            points=tuple(replace(p, auc=p.auc + 10) for p in each.points),
        )
        for each in RESULTS
    ]
    small = [replace(each, spec=replace(each.spec, start=10)) for each in RESULTS]
    rows = correlation_table(RESULTS + strong).rows
    assert [row[1] for row in rows] == ["finetune", "probe"] or [row[1] for row in rows] == ["probe", "finetune"]
    assert rows[0][2] == rows[1][2] and {row[5] for row in rows} == {"3"}
    assert sorted(row[0] for row in correlation_table(RESULTS + small).rows) == [
        "margin (start=10)",
        "margin (start=20)",
    ]
    assert len(curves_table(RESULTS + small).rows) == 4


def test_curves_with_the_same_first_query_are_one_point() -> None:
    apart = [curve("random", seed, first, last) for seed, (first, last) in enumerate([(60, 70), (70, 90), (80, 75)])]
    same = [
        replace(apart[0], points=(apart[0].points[0], replace(apart[0].points[1], auc=auc))) for auc in (72.0, 74.0)
    ]
    row = correlation_table(apart + same).rows[0]
    # 70, 72 and 74 are one: 72.
    assert float(row[2]) == pytest.approx(np.corrcoef([60, 70, 80], [72, 90, 75])[0, 1], abs=0.005)
    assert row[4:6] == ("3", "5")
