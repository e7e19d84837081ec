"""Repairs that scikit-learn makes so rare that the door's own tests do not meet them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.cluster import assignment
from pipeline.cluster.assignment import Compared, _nearest, _scores, assign
from pipeline.errors import InputError

LINE = np.array([[0], [1], [2], [10], [11]], np.float32)


def test_an_empty_cluster_takes_the_farthest_row_and_what_is_then_closer() -> None:
    # By hand: 100 is nobody's nearest; row 11 is farthest from its centroid 1; 10 is nearer to 11 than to 1.
    found = assign(lambda: [LINE[:2], LINE[2:]], np.array([[1], [100]], np.float32))
    assert found.centroids.ravel().tolist() == [1, 11]
    assert found.labels.tolist() == [0, 0, 0, 1, 1]
    assert found.squared.tolist() == [1, 0, 1, 1, 0]


def test_equal_centroids_count_as_one() -> None:
    found = assign(lambda: [LINE], np.array([[1], [1], [10]], np.float32))
    assert found.centroids.ravel().tolist() == [1, 0, 10]  # rows 0, 2 and 11 tie at distance 1: the first moves
    assert found.labels.tolist() == [1, 0, 0, 2, 2]


def test_equal_centroids_do_not_split_equal_rows_even_if_rounding_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """A matrix product may round the same numbers differently in two columns."""
    split = (np.array([0, 1, 0, 1, 2]), np.zeros(5))
    monkeypatch.setattr(assignment, "_nearest", lambda rows, centroids, compared: split)
    rows = np.array([[7], [7], [7], [7], [9]], np.float32)
    with pytest.raises(InputError, match="only 2 distinct"):
        assign(lambda: [rows], np.array([[7], [7], [9]], np.float32))


def test_the_given_centroids_are_left_alone() -> None:
    given = np.array([[1], [100]], np.float32)
    assign(lambda: [LINE], given)
    assert given.ravel().tolist() == [1, 100]


def test_distances_are_exact_far_from_the_origin() -> None:
    rows = np.array([[4096, 0], [4096.5, 0]], np.float32)  # |x|^2 = 2^24: float32 has no bits left for .25
    found = assign(lambda: [rows], rows.copy())
    assert found.labels.tolist() == [0, 1]
    assert found.squared.tolist() == [0, 0]


def test_too_few_distinct_rows() -> None:
    with pytest.raises(InputError, match=r"only 2 distinct .* cluster\.k=3; lower cluster\.k to 2"):
        assign(lambda: [np.array([[0], [0], [4]], np.float32)], np.array([[0], [1], [5]], np.float32))


@pytest.mark.parametrize(("offset", "step"), [(0, 1e-7), (0, 0.3), (1000, 1e-4), (1000, 0)])
def test_nearest_is_that_of_float64_however_close_the_centroids(offset: float, step: float) -> None:
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(3000, 32)) + offset).astype(np.float32)
    # Pairs of centroids a step apart: float32 scores cannot tell the smaller steps.
    first = rows[:20].astype(np.float64)
    centroids = np.concatenate([first, first + step * rng.normal(size=(20, 32))]).astype(np.float32)
    label, squared = _nearest(rows, centroids, Compared.of(centroids))
    assert label.tolist() == _scores(rows, centroids).argmin(axis=1).tolist()
    every = ((rows.astype(np.float64)[:, None] - centroids) ** 2).sum(axis=2)
    np.testing.assert_allclose(squared, every.min(axis=1), rtol=1e-9, atol=1e-12)


def test_the_number_of_cores_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).normal(size=(20_000, 8)).astype(np.float32)
    found = []
    for cores in (1, 2, 5):
        monkeypatch.setattr("pipeline.cluster.assignment.cores", lambda n=cores: n)
        found.append(assign(lambda: [rows], rows[:30]))
    for other in found[1:]:
        assert other.labels.tobytes() == found[0].labels.tobytes()
        assert other.squared.tobytes() == found[0].squared.tobytes()
