"""The orders by given clusters on one tiny pool, written by hand; the registry and the view."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.select import PoolView, strategy

# Two clusters; with seed 3 the turns are 1, 0 (checked below).
VIEW = PoolView(
    sample_id=np.array([10, 20, 30, 40, 50]),
    cluster=np.array([0, 0, 0, 1, 1], np.int32),
    distance=np.array([0.3, 0.1, 0.2, 0.9, 0.8], np.float32),
    confidence=np.array([0.2, 0.5, 0.2, 0.7, 0.6]),
    variability=np.array([0.0, 0.2, 0.1, 0.4, 0.4]),
    k=2,
    pixel_cluster=np.array([1, 0, 2, 0, 1], np.int32),
    pixel_distance=np.array([0.3, 0.1, 0.2, 0.9, 0.8], np.float32),
    pixel_k=3,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hard-to-contrast", [50, 10, 40, 30, 20]),  # 10 and 30 tie: the lower id first
        ("easy-to-contrast", [40, 20, 50, 30, 10]),  # ... and last here: the exact reverse in each cluster
        ("ambiguous", [40, 20, 50, 30, 10]),  # 40 and 50 tie
        ("closest-to-centroid", [50, 20, 40, 30, 10]),
        ("pixel-clusters", [30, 10, 20, 50, 40]),
        ("lowest-confidence", [10, 30, 20, 50, 40]),  # 10 and 30 tie
    ],
)
def test_by_hand(name: str, expected: list[int]) -> None:
    assert np.random.default_rng(3).permutation(2).tolist() == [1, 0]
    assert np.random.default_rng(3).permutation(3).tolist() == [2, 1, 0]
    assert strategy(name).order(VIEW, seed=3).tolist() == expected


def test_a_labelled_image_was_its_clusters_turn() -> None:
    """Two of cluster 0 are labelled: cluster 1 has two turns before the third is cluster 0's."""
    view = dataclasses.replace(VIEW, labelled=np.array([False, True, True, False, False]))
    assert strategy("hard-to-contrast").order(view, seed=3).tolist() == [50, 40, 10]
    one = dataclasses.replace(VIEW, labelled=np.array([True, False, False, False, False]))
    assert strategy("hard-to-contrast").order(one, seed=3).tolist() == [50, 40, 30, 20]


def test_random_is_numpys_permutation_of_the_sorted_ids() -> None:
    expected = np.random.default_rng(9).permutation(np.array([3, 5, 8, 13]))
    view = PoolView(sample_id=np.array([13, 3, 8, 5]))
    assert strategy("random").order(view, seed=9).tolist() == expected.tolist()


@pytest.mark.parametrize("name", ["hard-to-contrast", "easy-to-contrast", "ambiguous"])
def test_samples_that_training_never_drew_come_last_in_their_cluster(name: str) -> None:
    unseen = np.array([np.nan, 0.5, 0.2, 0.7, np.nan])
    view = PoolView(VIEW.sample_id, VIEW.cluster, confidence=unseen, variability=unseen, k=2)
    order = strategy(name).order(view, seed=3).tolist()
    assert order[0] == 40
    assert order[2] == 50
    assert order[4] == 10  # cluster 0's third


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="hard-to-contrast needs cluster and confidence"):
        strategy("hard-to-contrast").order(PoolView(np.arange(3)), seed=0)
    with pytest.raises(ValueError, match="closest-to-centroid needs distance"):
        strategy("closest-to-centroid").order(PoolView(np.arange(2), np.zeros(2, np.int32), k=1), seed=0)


def test_unknown_names() -> None:
    with pytest.raises(InputError, match="no order 'hard_to_contrast'; did you mean 'hard-to-contrast'"):
        strategy("hard_to_contrast")
    with pytest.raises(InputError, match="choose one of hard-to-contrast, easy-to-contrast"):
        strategy("zzz")


def test_a_view_checks_itself() -> None:
    with pytest.raises(ValueError, match=r"confidence has shape \(2,\), not \(3\)"):
        PoolView(np.arange(3), confidence=np.zeros(2))
    with pytest.raises(ValueError, match=r"features has shape \(3,\), not \(3, D\)"):
        PoolView(np.arange(3), features=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"probability_draws has shape \(3, 9, 2\), not \(3, 3, C\)"):
        PoolView(np.arange(3), probability_draws=np.zeros((3, 9, 2)))
    with pytest.raises(ValueError, match=r"probability_views has shape \(5, 3, 4\), not \(5, 3, 2\)"):
        PoolView(np.arange(3), probabilities=np.zeros((3, 2)), probability_views=np.zeros((5, 3, 4)))
    with pytest.raises(ValueError, match="features are float32, not float64"):
        PoolView(np.arange(3), features=np.zeros((3, 2)))
    with pytest.raises(ValueError, match="labelled is bool, not int64"):
        PoolView(np.arange(3), labelled=np.array([0, 1, 0]))
    with pytest.raises(ValueError, match="3 rows have only 2 distinct"):
        PoolView(np.array([1, 1, 2]))
    with pytest.raises(ValueError, match="clusters 0 to 2 are not within 0 to 1"):
        PoolView(np.arange(3), cluster=np.arange(3, dtype=np.int32), k=2)
    with pytest.raises(ValueError, match="clusters 0 to 2 are not within 0 to -1"):
        PoolView(np.arange(3), pixel_cluster=np.arange(3, dtype=np.int32))


def test_a_view_in_id_order_takes_every_column_along() -> None:
    ids = np.array([30, 10, 20])
    view = PoolView(ids, features=ids[:, None].astype(np.float32), probability_draws=np.stack([ids, -ids])[..., None])
    ordered = view.by_sample_id()
    assert ordered.sample_id.tolist() == [10, 20, 30]
    assert ordered.features is not None and ordered.features.tolist() == [[10], [20], [30]]
    assert ordered.probability_draws is not None
    assert ordered.probability_draws[..., 0].tolist() == [[10, 20, 30], [-10, -20, -30]]
    assert ordered.by_sample_id() is ordered, "not copied again"
