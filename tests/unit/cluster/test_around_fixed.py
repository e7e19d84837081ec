"""K-means beside centroids that do not move."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from pipeline.artifacts import Float32
from pipeline.cluster.around_fixed import kmeans_around, plus_plus


def blobs(centres: int, each: int, seed: int = 0) -> Float32:
    """(centres x each, 6) around far points."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(centres, 6)) * 10
    rows = np.repeat(middles, each, axis=0) + rng.normal(size=(centres * each, 6)) * 0.1
    return rows.astype(np.float32)


def test_new_centroids_go_where_no_fixed_one_is() -> None:
    rows = blobs(5, 40)
    new, label = kmeans_around(rows, rows[[0, 40]], 3, seed=1)
    for blob in range(5):
        assert len(set(label[40 * blob : 40 * blob + 40])) == 1
    assert {*label[:40]} == {0} and {*label[40:80]} == {1}
    expected = rows[80:].reshape(3, 40, 6).mean(axis=1)
    np.testing.assert_allclose(new[np.argsort(label[[80, 120, 160]])], expected, atol=1e-4)


def test_it_is_lloyds_loop_that_leaves_the_fixed_alone() -> None:
    """Against a slow loop from the same start."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(300, 4)).astype(np.float32)
    fixed = rows[:5] + np.float32(0.01)
    centres = np.concatenate([fixed, plus_plus(rows, fixed, 4, seed=2)]).astype(np.float64)
    before = np.inf
    for _ in range(30):
        squared = ((rows[:, None] - centres[None]) ** 2).sum(axis=2)
        label, inertia = squared.argmin(axis=1), squared.min(axis=1).sum()
        for number in range(5, 9):
            if (label == number).any():
                centres[number] = rows[label == number].mean(axis=0)
        if before - inertia <= 1e-4 * inertia:
            break
        before = inertia
    new, labels = kmeans_around(rows, fixed, 4, seed=2)
    np.testing.assert_allclose(new, centres[5:], atol=1e-5)
    assert (labels == ((rows[:, None] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)).all()


def test_without_fixed_ones_it_is_about_as_good_as_scikit_learns() -> None:
    rows = np.random.default_rng(4).normal(size=(2000, 8)).astype(np.float32)
    new, label = kmeans_around(rows, np.empty((0, 8), np.float32), 12, seed=0)
    inertia = float(((rows - new[label]) ** 2).sum())
    assert inertia < 1.02 * KMeans(12, n_init=1, random_state=0).fit(rows).inertia_


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_changes_nothing(threads: int) -> None:
    rows = blobs(7, 30, seed=5)
    expected = kmeans_around(rows, rows[:2], 5, seed=0)
    with threadpool_limits(limits=threads):
        found = kmeans_around(rows, rows[:2], 5, seed=0)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_fewer_distinct_rows_than_centroids() -> None:
    rows = np.ones((6, 3), np.float32)
    new, label = kmeans_around(rows, rows[:1], 3, seed=0)
    assert new.shape == (3, 3) and np.isfinite(new).all() and len(label) == 6


def test_no_new_ones() -> None:
    rows = blobs(2, 5)
    new, label = kmeans_around(rows, rows[[0, 5]], 0, seed=0)
    assert new.shape == (0, 6) and label.tolist() == [0] * 5 + [1] * 5
