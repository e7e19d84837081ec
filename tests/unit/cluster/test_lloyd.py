"""Lloyd's passes: by hand, against scikit-learn's, and the same on any number of cores."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from pipeline.cluster import assignment
from pipeline.cluster.lloyd import lloyd


def _rows(n: int = 10_000) -> np.ndarray:
    rng = np.random.default_rng(3)
    return (rng.normal(size=(n, 8)) + 4 * rng.normal(size=(6, 8))[rng.integers(0, 6, n)]).astype(np.float32)


def test_four_points_by_hand() -> None:
    points = np.array([[0, 0], [0, 2], [9, 0], [9, 4]], np.float32)
    start = np.array([[0, 0], [9, 0], [50, 50]], np.float32)
    found = lloyd(lambda: [points], start, passes=5, tolerance=0)
    assert found.tolist() == [[0, 1], [9, 2], [50, 50]], "means of two points each; one without points stays"


def test_the_passes_are_scikit_learns() -> None:
    rows = _rows()
    start = rows[:6].copy()
    theirs = KMeans(6, init=start, n_init=1, max_iter=4, tol=0, algorithm="lloyd").fit(rows)
    ours = lloyd(lambda: [rows[:777], rows[777:]], start, passes=4, tolerance=0)
    np.testing.assert_allclose(ours, theirs.cluster_centers_, rtol=1e-4, atol=1e-4)


def test_the_number_of_cores_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, found = _rows(40_000), []
    for cores in (1, 2, 5):
        monkeypatch.setattr(assignment, "cores", lambda cores=cores: cores)
        found.append(lloyd(lambda: [rows], rows[:6].copy(), passes=3, tolerance=0))
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
