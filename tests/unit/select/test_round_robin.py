"""The round robin against hand-written orders and a slow loop."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.artifacts import Int64
from pipeline.select.round_robin import round_robin, visiting_order


def slow_round_robin(cluster: Int64, key: Int64, cluster_order: Int64) -> list[int]:
    """As Algorithm 1 and docs/method.md, decision 8 tell it, one sample at a time."""
    waiting = {
        c: sorted((i for i in range(len(cluster)) if cluster[i] == c), key=lambda i: key[i]) for c in cluster_order
    }
    chosen: list[int] = []
    while any(waiting.values()):
        for c in cluster_order:
            if waiting[c]:
                chosen.append(waiting[c].pop(0))
    return chosen


def test_by_hand() -> None:
    #               row 0  1  2  3  4  5  6
    cluster = np.array([0, 0, 0, 0, 1, 2, 2])
    rank_key = np.array([3, 1, 0, 2, 0, 1, 0])
    # Turns: 2, 0, 1. Round 1: rows 6, 2, 4; round 2: 5, 1 (1 is exhausted); then 0 alone: 3, 0.
    assert round_robin(cluster, rank_key, np.array([2, 0, 1])).tolist() == [6, 2, 4, 5, 1, 3, 0]
    # Every cluster reversed, the turns kept.
    assert round_robin(cluster, -rank_key, np.array([2, 0, 1])).tolist() == [5, 0, 4, 6, 3, 1, 2]


def test_turns_had_before_by_hand() -> None:
    cluster = np.array([0, 0, 0, 1, 1, 2])
    # Cluster 1 has had two turns: 0 and 2 take theirs first, then 0 its second, and only then 1 its first.
    assert round_robin(cluster, np.zeros(6), np.array([1, 0, 2]), np.array([0, 2, 0])).tolist() == [0, 5, 1, 3, 2, 4]


def test_ties_go_to_the_earlier_row() -> None:
    assert round_robin(np.zeros(4, int), np.array([1, 0, 1, 0]), np.array([0])).tolist() == [1, 3, 0, 2]


def test_empty_clusters_and_empty_pools() -> None:
    assert round_robin(np.array([4, 1]), np.array([0, 0]), np.array([3, 1, 0, 4, 2])).tolist() == [1, 0]
    assert round_robin(np.empty(0, int), np.empty(0), np.array([0, 1])).tolist() == []


@pytest.mark.parametrize("seed", range(20))
def test_against_the_slow_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(1, 60)), int(rng.integers(1, 9))
    cluster, key, turns = rng.integers(0, k, n), rng.integers(0, 5, n), rng.permutation(k)
    assert round_robin(cluster, key, turns).tolist() == slow_round_robin(cluster, key, turns)


def test_every_prefix_is_as_even_as_the_clusters_allow() -> None:
    cluster = np.repeat(np.arange(4), [3, 10, 10, 10])
    order = round_robin(cluster, np.zeros(33), np.array([1, 0, 3, 2]))
    for budget in range(1, 13):
        counts = np.bincount(cluster[order[:budget]], minlength=4)
        assert counts.max() - counts.min() <= 1


def test_visiting_order_is_the_seeds_alone() -> None:
    assert visiting_order(6, 3).tolist() == np.random.default_rng(3).permutation(6).tolist()
    assert sorted(visiting_order(30, 0).tolist()) == list(range(30))
    assert visiting_order(30, 0).tolist() != visiting_order(30, 1).tolist()


def test_what_is_unknown_comes_last_in_its_cluster() -> None:
    assert round_robin(np.zeros(4, int), np.array([0.5, np.nan, 0.1, 0.5]), np.array([0])).tolist() == [2, 0, 3, 1]
