"""What every registered strategy promises. A new one is tested by being in the registry."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import numpy as np
import pytest

from pipeline.select import STRATEGIES, PoolView, Strategy

every_strategy = pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)


def pool(n: int = 203, k: int = 7, seed: int = 0) -> PoolView:
    """Ids with gaps, in no order; uneven clusters; confidences rounded so that there are ties."""
    rng = np.random.default_rng(seed)
    return PoolView(
        sample_id=rng.permutation(rng.choice(10**12, n, replace=False)),
        cluster=(rng.random(n) ** 2 * k).astype(np.int32),
        distance=rng.random(n).round(1).astype(np.float32),
        confidence=rng.random(n).round(2),
        variability=rng.random(n).round(2),
        k=k,
    )


def shuffled(view: PoolView, seed: int) -> PoolView:
    rows = np.random.default_rng(seed).permutation(len(view.sample_id))
    columns = ("sample_id", "cluster", "distance", "confidence", "variability")
    return dataclasses.replace(view, **{name: getattr(view, name)[rows] for name in columns})


@every_strategy
@pytest.mark.parametrize("n", [1, 2, 203])
def test_every_sample_exactly_once(strategy: Strategy, n: int) -> None:
    view = pool(n)
    order = strategy.order(view, seed=0)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == sorted(view.sample_id.tolist())


@every_strategy
def test_row_order_does_not_matter(strategy: Strategy) -> None:
    view = pool()
    expected = strategy.order(view, seed=5).tolist()
    for seed in range(3):
        assert strategy.order(shuffled(view, seed), seed=5).tolist() == expected


@every_strategy
def test_the_seed_decides(strategy: Strategy) -> None:
    view = pool()
    assert strategy.order(view, seed=1).tolist() == strategy.order(view, seed=1).tolist()
    assert strategy.order(view, seed=1).tolist() != strategy.order(view, seed=2).tolist()


@every_strategy
def test_the_view_is_left_alone(strategy: Strategy) -> None:
    view, untouched = pool(), pool()
    strategy.order(view, seed=0)
    for field in ("sample_id", "cluster", "distance", "confidence", "variability"):
        assert np.array_equal(getattr(view, field), getattr(untouched, field))


@every_strategy
def test_budgets_nest(strategy: Strategy) -> None:
    """Asked twice, next week with a larger budget: the second query starts with the first, for any two budgets."""
    if not strategy.nests:
        pytest.skip("does not promise it")
    budgets = (1, 6, 7, 8, 60, 203)
    queries = [strategy.order(shuffled(pool(), budget), seed=3)[:budget].tolist() for budget in budgets]
    for budget, query, larger in zip(budgets, queries, queries[1:], strict=False):
        assert len(set(query)) == budget
        assert larger[:budget] == query


@every_strategy
def test_clusters_share_a_budget_equally(strategy: Strategy) -> None:
    if not strategy.needs_clusters:
        pytest.skip("not by clusters")
    view = pool()
    assert view.cluster is not None
    sizes = np.bincount(view.cluster, minlength=view.k)
    cluster_of = dict(zip(view.sample_id.tolist(), view.cluster.tolist(), strict=True))
    order = [cluster_of[i] for i in strategy.order(view, seed=0).tolist()]
    assert sorted(order[: view.k]) == list(range(view.k))
    for budget in (10, 40, 150):
        taken = np.bincount(order[:budget], minlength=view.k)
        for c in range(view.k):  # whoever has fewer than another's count less one is exhausted
            assert taken[c] >= taken.max() - 1 or taken[c] == sizes[c]


@every_strategy
@pytest.mark.parametrize("column", ["cluster", "distance", "confidence", "variability"])
def test_runs_exactly_when_it_has_what_it_needs(strategy: Strategy, column: str) -> None:
    without: dict[str, Any] = {column: None}
    view = dataclasses.replace(pool(), **without)
    if column in strategy.needs:
        with pytest.raises(ValueError, match=column):
            strategy.order(view, seed=0)
    else:
        assert strategy.order(view, seed=0).tolist() == strategy.order(pool(), seed=0).tolist()


@every_strategy
def test_it_names_its_source(strategy: Strategy) -> None:
    assert "SCIENCE.md" in (inspect.getdoc(strategy.pick) or "")


def test_a_view_has_no_labels() -> None:
    fields = {field.name for field in dataclasses.fields(PoolView)}
    assert fields == {"sample_id", "cluster", "distance", "confidence", "variability", "k"}
