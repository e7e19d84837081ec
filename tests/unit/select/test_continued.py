"""A query that goes on: against a slow loop, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.select import strategy
from pipeline.select.continued import churn, continued
from pipeline.select.pool_view import PoolView


def _view(n: int, seed: int, covered: list[int], k: int = 4) -> PoolView:
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(n, 5)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    labelled = np.zeros(n, bool)
    labelled[covered] = True
    return PoolView(
        sample_id=np.arange(n) * 3,
        cluster=draw.integers(k, size=n).astype(np.int32),
        k=k,
        features=features,
        labelled=labelled,
    )


def test_nothing_lost_is_the_order_itself_by_labels_a_cluster() -> None:
    view = _view(60, 0, [1, 2, 3, 4])
    best = strategy("greedy-medoids")
    found = continued(best, view, 6, 7, lost=view.take(np.empty(0, np.int64)), plan=6)
    plain = best.query(view, 12, 7)
    assert sorted(found.ids) == sorted(plain[:6]) and found.planned.tolist() == plain[6:].tolist()
    assert view.cluster is not None and view.labelled is not None
    labels = np.bincount(view.cluster[view.labelled], minlength=4)[view.cluster[found.ids // 3]]
    assert (np.diff(labels) >= 0).all() and (found.replaces == -1).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_lost_are_replaced_by_the_nearest_of_their_cluster(seed: int) -> None:
    view = _view(40, seed, [0, 1])
    lost = _view(3, 100 + seed, [])
    found = continued(strategy("greedy-medoids"), view, 5, 0, lost=lost)
    assert view.features is not None and view.cluster is not None
    assert lost.features is not None and lost.cluster is not None
    taken = {0, 1}
    for place in range(3):
        best, least = -1, np.inf
        for row in range(40):
            distance = float(np.linalg.norm(view.features[row] - lost.features[place]))
            if row not in taken and view.cluster[row] == lost.cluster[place] and distance < least:
                best, least = row, distance
        assert found.ids[place] == best * 3 and found.replaces[place] == lost.sample_id[place]
        taken.add(best)
    assert len(set(found.ids.tolist())) == 5 and not {0, 3} & set(found.ids.tolist())


def test_more_lost_than_the_budget_wait_and_an_empty_cluster_is_left() -> None:
    view = _view(10, 0, [], k=2)
    assert view.cluster is not None
    view.cluster[:] = 0
    lost = _view(4, 1, [], k=2)
    assert lost.cluster is not None
    lost.cluster[:] = 1
    found = continued(strategy("greedy-medoids"), view, 2, 0, lost=lost)
    assert found.replaces.tolist() == lost.sample_id[:2].tolist() and len(found.planned) == 0


def test_churn_by_hand() -> None:
    planned, free = np.array([1, 2, 3, 4]), np.array([1, 2, 4, 8, 9])
    assert churn(planned, np.array([2, 9]), free) == 0.5, "1 could still be chosen and is not; 2 is"
    assert churn(planned, np.array([1, 2, 4]), free) == 0.0, "3 is gone: no fault of the order"
    assert churn(np.array([3]), np.array([1]), free) is None
