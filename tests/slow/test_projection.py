from __future__ import annotations

import numpy as np
import pytest

from pipeline.cluster.umap2d import FEWEST
from pipeline.report.projection import project_2d


def blobs(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors in three tight bundles: (count, 16) features and (count,) bundles."""
    rng = np.random.default_rng(0)
    bundle = np.arange(count) % 3
    features = 4 * np.eye(16)[bundle] + 0.3 * rng.normal(size=(count, 16))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), bundle


def test_neighbours_stay_neighbours_and_the_seed_decides() -> None:
    features, bundle = blobs(90)
    map_ = project_2d(features, seed=3)
    assert map_.method == "UMAP" and map_.points.shape == (90, 2) and map_.points.dtype == np.float32
    distance = np.linalg.norm(map_.points[:, None] - map_.points[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (bundle[distance.argmin(axis=1)] == bundle).all()
    np.testing.assert_array_equal(project_2d(features, seed=3).points, map_.points)
    assert not np.array_equal(project_2d(features, seed=4).points, map_.points)


@pytest.mark.parametrize("count", [FEWEST, 8, 16])
def test_few_points_are_laid_out(count: int) -> None:
    map_ = project_2d(blobs(count)[0], seed=0)
    assert map_.method == "UMAP" and map_.points.shape == (count, 2) and np.isfinite(map_.points).all()


def test_too_few_points_lie_on_their_principal_axes_and_it_is_said() -> None:
    corner = np.array([[0, 0, 0], [3, 0, 0], [0, 4, 0]], np.float32)
    map_ = project_2d(corner, seed=0)
    # Three points have a plane of their own: every distance survives.
    sides = [float(np.linalg.norm(map_.points[a] - map_.points[b])) for a, b in ((0, 1), (0, 2), (1, 2))]
    assert sides == pytest.approx([3, 4, 5], rel=1e-5)
    assert map_.method == "principal axes, because UMAP needs at least 5 points and there are 3"


@pytest.mark.parametrize("count", [0, 1])
def test_no_axis_means_zeros(count: int) -> None:
    assert project_2d(np.ones((count, 8), np.float32), seed=0).points.tolist() == [[0, 0]] * count


def test_identical_points_do_not_break_it() -> None:
    assert np.isfinite(project_2d(np.ones((20, 8), np.float32), seed=0).points).all()


def test_features_must_be_a_matrix() -> None:
    with pytest.raises(ValueError, match=r"not of shape \(3,\)"):
        project_2d(np.ones(3, np.float32), seed=0)
