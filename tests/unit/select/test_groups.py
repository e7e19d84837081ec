"""At most so many of a group: against a slow loop, nested, and where there are too few."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pipeline.select import strategy
from pipeline.select.groups import capped
from pipeline.select.pool_view import PoolView


def _view(n: int = 60, seed: int = 0, labelled: int = 5) -> PoolView:
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(n, 6)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    ids = draw.permutation(n) * 2
    return PoolView(
        sample_id=ids,
        features=features,
        cluster=draw.integers(4, size=n).astype(np.int32),
        k=4,
        labelled=np.arange(n) < labelled,
    )


@pytest.mark.parametrize("name", ["greedy-medoids", "k-medoids", "random"])
@pytest.mark.parametrize("at_most", [1, 2, 3])
def test_the_order_without_what_is_too_much(name: str, at_most: int) -> None:
    view, group = _view(), np.random.default_rng(1).integers(-1, 8, size=60)
    order, budget = strategy(name), 9
    found = capped(order, view, budget, 3, group, at_most)
    row_of = {int(each): row for row, each in enumerate(view.sample_id)}
    assert view.labelled is not None
    asked = budget
    while True:
        have = Counter(int(group[row]) for row in range(60) if view.labelled[row])
        slow = []
        for each in order.query(view, min(asked, 55), 3).tolist():
            mine = int(group[row_of[each]])
            if mine < 0 or have[mine] < at_most:
                slow.append(each)
            have[mine] += 1
        if len(slow) >= budget or asked >= 55:
            break
        asked *= 2
    assert found.tolist() == slow[:budget]


def test_a_larger_budget_goes_on() -> None:
    view, group = _view(), np.arange(60) % 12
    best = strategy("greedy-medoids")
    assert capped(best, view, 14, 0, group, 2)[:6].tolist() == capped(best, view, 6, 0, group, 2).tolist()


def test_where_the_cap_leaves_too_few_all_of_them_come() -> None:
    group = np.zeros(60, np.int64)
    group[30:] = 1
    assert len(capped(strategy("greedy-medoids"), _view(labelled=0), 9, 0, group, 2)) == 4
    assert len(capped(strategy("greedy-medoids"), _view(labelled=0), 9, 0, np.full(60, -1), 1)) == 9
