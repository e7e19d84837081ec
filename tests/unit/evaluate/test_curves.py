"""Curves as a table and as lines."""

from __future__ import annotations

import csv
import io

from pipeline.evaluate.curves import curves_csv, curves_table
from pipeline.evaluate.cycles import CyclePoint, CycleResult, CycleSpec


def curve(initial: str, seed: int, first: float, last: float, **flags: bool) -> CycleResult:
    """Two points."""
    spec = CycleSpec(initial, "margin", seed, start=20, step=30, end=50)
    points = tuple(CyclePoint(size, auc, 60.0, 55.0, 0.5, 1.5) for size, auc in ((20, first), (50, last)))
    known = {"oracle": False, "saw_test": False, **flags}
    return CycleResult(spec, points, (1, 2), 3.0, note="", **known)


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
        **{"auc": "92.0", "accuracy": "60.0", "balanced_accuracy": "55.0", "covered": "0.5", "entropy": "1.5"},
    }
