"""Lloyd's passes: by hand, against scikit-learn's, and the same on any number of cores."""

from __future__ import annotations

import itertools

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
    found = lloyd(lambda: [points], start, passes=5, least=0)
    assert found.tolist() == [[0, 1], [9, 2], [50, 50]], "means of two points each; one without points stays"


@pytest.mark.parametrize("offset", [0, 300])
def test_the_passes_are_scikit_learns(offset: float) -> None:
    rows = _rows() + np.float32(offset)
    start = rows[:6].copy()
    theirs = KMeans(6, init=start, n_init=1, max_iter=4, tol=0, algorithm="lloyd").fit(rows)
    ours = lloyd(lambda: [rows[:777], rows[777:]], start, passes=4, least=-1)
    np.testing.assert_allclose(ours, theirs.cluster_centers_, rtol=1e-4, atol=1e-4)


def test_it_ends_when_a_pass_has_hardly_lowered_the_inertia() -> None:
    rows, passes = _rows(), list[np.ndarray]()
    start = rows[:6].copy()
    for number in range(1, 12):
        passes.append(lloyd(lambda: [rows], start, passes=number, least=-1))
    centroids = [start, *passes]
    # Of the centroids that each pass began with, in float64.
    inertia = [((rows[:, None] - each.astype(float)) ** 2).sum(axis=2).min(axis=1).sum() for each in centroids]
    gains = [(before - after) / after for before, after in itertools.pairwise(inertia)]
    for least in (0.2, 0.03, 0.001):
        last = next(number for number, gain in enumerate(gains, 1) if gain <= least)
        assert np.array_equal(lloyd(lambda: [rows], start, passes=11, least=least), passes[last])


def test_the_number_of_cores_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, found = _rows(40_000), []
    for cores in (1, 2, 5):
        monkeypatch.setattr(assignment, "cores", lambda cores=cores: cores)
        found.append(lloyd(lambda: [rows], rows[:6].copy(), passes=3, least=-1))
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
