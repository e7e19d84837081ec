"""Each strategy on one tiny pool, the orders written by hand; what only one of them promises."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.select import STRATEGIES, PoolView, strategy

# Two clusters; with seed 3 the turns are 1, 0 (checked below).
VIEW = PoolView(
    sample_id=np.array([10, 20, 30, 40, 50]),
    cluster=np.array([0, 0, 0, 1, 1], np.int32),
    distance=np.array([0.3, 0.1, 0.2, 0.9, 0.8], np.float32),
    confidence=np.array([0.2, 0.5, 0.2, 0.7, 0.6]),
    variability=np.array([0.0, 0.2, 0.1, 0.4, 0.4]),
    k=2,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hard-to-contrast", [50, 10, 40, 30, 20]),  # 10 and 30 tie: the lower id first
        ("easy-to-contrast", [40, 20, 50, 30, 10]),  # ... and last here: the exact reverse in each cluster
        ("ambiguous", [40, 20, 50, 30, 10]),  # 40 and 50 tie
        ("closest-to-centroid", [50, 20, 40, 30, 10]),
    ],
)
def test_by_hand(name: str, expected: list[int]) -> None:
    assert np.random.default_rng(3).permutation(2).tolist() == [1, 0]
    assert strategy(name).order(VIEW, seed=3).tolist() == expected


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


def test_declared_needs() -> None:
    assert {name for name, each in STRATEGIES.items() if each.needs_clusters} == set(STRATEGIES) - {"random"}
    assert {name for name, each in STRATEGIES.items() if each.needs_confidence} == {
        "hard-to-contrast",
        "easy-to-contrast",
        "ambiguous",
    }


def test_a_view_checks_itself() -> None:
    with pytest.raises(ValueError, match=r"confidence has shape \(2,\), sample_id \(3,\)"):
        PoolView(np.arange(3), confidence=np.zeros(2))
    with pytest.raises(ValueError, match="3 rows have only 2 distinct"):
        PoolView(np.array([1, 1, 2]))
    with pytest.raises(ValueError, match="clusters 0 to 2 are not within 0 to 1"):
        PoolView(np.arange(3), cluster=np.arange(3, dtype=np.int32), k=2)
