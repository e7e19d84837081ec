"""When an archive is said to have changed: by hand, against a slow loop, and how often in vain."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.artifacts import Float32
from pipeline.cluster.assignment import to_nearest
from pipeline.cluster.drift import (
    ANEW,
    ASSIGN,
    CONTINUE,
    RECLUSTER,
    Side,
    nearest_others,
    own_distances,
    two_sample,
    verdict,
)
from pipeline.config import DriftConfig


def _images(n: int, groups: list[int], seed: int) -> Float32:
    """Unit-norm features of groups whose directions are fixed by their numbers."""
    centres = np.random.default_rng(7).normal(size=(10, 32))
    draw = np.random.default_rng(seed)
    made = centres[draw.choice(groups, n)] + 0.6 * draw.normal(size=(n, 32))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def _verdict(new: Float32, *, trained: bool = False, seed: int = 0) -> str:
    reference = _images(400, [0, 1, 2, 3], seed)
    centroids = np.stack([_images(200, [group], 99).mean(axis=0) for group in range(4)])
    sides = [Side(each, *to_nearest(each, centroids)) for each in (reference, new)]
    return verdict(*sides, DriftConfig(), trained=trained, seed=seed).name


def test_the_same_kinds_of_images_are_assigned() -> None:
    assert _verdict(_images(200, [0, 1, 2, 3], 1)) == ASSIGN


@pytest.mark.parametrize(
    ("share", "trained", "wanted"),
    [(0.2, False, RECLUSTER), (0.2, True, RECLUSTER), (0.4, True, CONTINUE), (0.8, True, ANEW)],
)
def test_a_new_kind_is_found(share: float, trained: bool, wanted: str) -> None:
    few = round(200 * share)
    assert (
        _verdict(np.concatenate([_images(few, [8], 2), _images(200 - few, [0, 1, 2, 3], 3)]), trained=trained) == wanted
    )


def test_the_same_kinds_in_other_shares_are_found() -> None:
    assert _verdict(_images(200, [0, 0, 0, 1], 1)) == RECLUSTER


def test_too_few_say_nothing() -> None:
    assert _verdict(_images(29, [8], 2)) == ASSIGN and _verdict(_images(30, [8], 2)) == RECLUSTER


def test_a_change_is_seen_in_vain_as_rarely_as_is_said() -> None:
    p = np.array(
        [two_sample(_images(200, [0, 1], seed), _images(60, [0, 1], 1000 + seed), seed)[0] for seed in range(60)]
    )
    # 60 trials at .05: more than 8 come by chance once in 140 times; and p is spread over 0 to 1.
    assert (p <= 0.05).sum() <= 8 and (p <= 0.01).sum() <= 3 and 0.3 < p.mean() < 0.7


def test_the_statistic_by_a_slow_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    reference, new = _images(30, [0], 1), _images(20, [0, 8], 2)
    both = np.concatenate([new, reference])
    k = 10
    slow = []
    for row in range(50):
        others = sorted((float(((both[row] - both[each]) ** 2).sum()), each) for each in range(50) if each != row)
        slow.append({each for _, each in others[:k]})
    assert [set(row) for row in nearest_others(both, k).tolist()] == slow
    draw = np.random.default_rng(5)
    first = np.arange(50) < 20
    wanted = sum(each < 20 for row in range(20) for each in slow[row])
    at_least = 1
    for _ in range(99):
        mark = draw.permutation(first)
        at_least += sum(mark[each] for row in range(50) if mark[row] for each in slow[row]) >= wanted
    monkeypatch.setattr("pipeline.cluster.drift.PERMUTATIONS", 99)
    p, alone = two_sample(reference, new, 5)
    assert p == at_least / 100
    # By chance 3.9 of 10 neighbours are new; more than 9 come less than once in a thousand, more than 8 oftener.
    assert alone == sum(sum(each < 20 for each in slow[row]) > 9 for row in range(20)) / 20


def test_a_centroid_without_the_image_itself() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    cluster = np.array([0, 0, 0, 0, 1], np.int32)
    centroids = np.stack([rows[:4].mean(axis=0), rows[4]])
    distance = np.linalg.norm(rows - centroids[cluster], axis=1).astype(np.float32)
    without = [np.linalg.norm(rows[at] - np.delete(rows[:4], at, axis=0).mean(axis=0)) for at in range(4)]
    np.testing.assert_allclose(own_distances(distance, cluster)[:4], without, rtol=1e-5)
    assert np.isinf(own_distances(distance, cluster)[4])
