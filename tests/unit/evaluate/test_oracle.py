"""The oracle of label diversity and the random query that covers all classes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.evaluate.oracle import random_covered, uniform, uniform_query

LABELS = np.array([0, 1, 2, 0, 1, 2, 0, 2, 2, -1])


def test_uniform_by_hand() -> None:
    order = np.array([9, 8, 6, 7, 4, 3, 5, 2, 1, 0])
    assert uniform(order, LABELS, 3, 3).tolist() == [6, 4, 8]
    # 8 = 2 of class 0, 2 of class 1, and the last class takes the rest, 4.
    assert uniform(order, LABELS, 3, 8).tolist() == [6, 3, 4, 1, 8, 7, 5, 2]
    # Class 1 has only two: not refilled.
    assert uniform(order, LABELS, 3, 9).tolist() == [6, 3, 0, 4, 1, 8, 7, 5]
    # Fewer than one each: all for the last class.
    assert uniform(order, LABELS, 3, 2).tolist() == [8, 7]
    with pytest.raises(ValueError, match="budget of 0"):
        uniform(order, LABELS, 3, 0)


def test_uniform_as_the_authors_code_reads() -> None:
    """docs/method.md, decision 15, as a slow loop."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = rng.integers(0, 5, 80)
        order, budget = rng.permutation(80), int(rng.integers(5, 60))
        expected: list[int] = []
        for c in range(5):
            quota = budget // 5 if c < 4 else budget - 4 * (budget // 5)
            expected += [i for i in order.tolist() if labels[i] == c][:quota]
        assert uniform(order, labels, 5, budget).tolist() == expected


def test_larger_queries_until_every_class_has_its_part() -> None:
    rng = np.random.default_rng(1)
    labels, order = np.r_[np.zeros(90, int), np.ones(10, int)], rng.permutation(100)
    asked: list[int] = []

    def query(budget: int) -> np.ndarray:
        asked.append(budget)
        return order[:budget]

    assert uniform_query(query, labels, 2, 6).tolist() == uniform(order, labels, 2, 6).tolist()
    # Three of class 1, a tenth of the pool: thirty hold as many in the mean.
    assert asked == [30, 100][: len(asked)]
    asked.clear()
    last = np.r_[order[labels[order] == 0], order[labels[order] == 1]]
    assert uniform_query(lambda b: last[:b], labels, 2, 6).tolist() == uniform(last, labels, 2, 6).tolist()
    # Class 1 has ten only, wherever they are: what there is suffices, and nothing is asked for in vain.
    assert len(uniform_query(query, labels, 2, 40)) == 30
    assert asked[-1] <= 100
    asked.clear()
    # A strategy that cannot give more than 20.
    assert uniform_query(query, labels, 2, 6, available=20).tolist() == uniform(order[:20], labels, 2, 6).tolist()
    assert max(asked) <= 20


def test_random_covered_covers_and_is_seeded() -> None:
    labels = np.repeat(np.arange(4), [500, 60, 20, 3])
    labels[::50] = -1
    for seed in range(20):
        query = random_covered(labels, 4, 12, seed)
        assert len(query) == len(set(query.tolist())) == 12
        assert set(labels[query].tolist()) >= {0, 1, 2, 3}
    assert random_covered(labels, 4, 12, 5).tolist() == random_covered(labels, 4, 12, 5).tolist()
    assert random_covered(labels, 4, 12, 5).tolist() != random_covered(labels, 4, 12, 6).tolist()


def test_random_covered_draws_every_covering_query_alike() -> None:
    labels = np.array([0, 0, 0, 1, 1, -1])
    covering = [set(q) for q in combinations(range(6), 3) if {0, 1} <= set(labels[list(q)].tolist())]
    drawn = [set(random_covered(labels, 2, 3, seed).tolist()) for seed in range(1500)]
    shares = np.array([drawn.count(query) for query in covering]) / 1500
    assert shares.sum() == pytest.approx(1)
    assert shares == pytest.approx(np.full(len(covering), 1 / len(covering)), abs=0.03)


def test_random_covered_that_cannot_be() -> None:
    labels = np.array([0, 0, 1, 2, 2])
    with pytest.raises(InputError, match="No query of 2 from 5 samples can hold all 3 classes"):
        random_covered(labels, 3, 2, 0)
    with pytest.raises(InputError, match="3 occur"):
        random_covered(labels, 4, 4, 0)
