"""What every registered strategy promises. A new one is tested by being in the registry.

A strategy of one's own, decorated here, goes through the same tests and is taken out again.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.artifacts import Int64
from pipeline.select import STRATEGIES, PoolView, Strategy, register, strategy
from pipeline.select.fresh_clusters import cluster_features


def freshly_decorated() -> Strategy:
    """What its author gets: found by name as soon as it is decorated."""

    @register(
        "lowest-ids", needs=("features",), nests=True, paper="none", words="the first come first", why="No reason."
    )
    def lowest_ids(view: PoolView, budget: int, seed: int) -> Int64:
        """Lowest id first. Source: this file."""
        return view.sample_id[view.unlabelled_rows[:budget]]

    assert [*STRATEGIES][-1] == "lowest-ids", "no family: after all others"
    assert strategy("lowest-ids").pick is lowest_ids
    return STRATEGIES.pop("lowest-ids")


EVERY = [*STRATEGIES.values(), freshly_decorated()]
every_strategy = pytest.mark.parametrize("strategy", EVERY, ids=lambda each: each.name)

COLUMNS = [field.name for field in dataclasses.fields(PoolView) if field.name not in ("sample_id", "k", "pixel_k")]
MADE_WITH_LABELS = ("learnability", "learnability_variability")
THE_SAME_FOR_ALL_SEEDS = {
    *("entropy", "margin", "least-confidence", "consistency", "bald", "vaal", "lowest-confidence", "maxherding"),
    *("greedy-medoids", "hard-medoids", "easy-to-learn", "hard-to-learn", "ambiguous-to-learn"),
}


def pool(n: int = 203, k: int = 7, seed: int = 0, labelled: int = 0) -> PoolView:
    """Ids with gaps, in no order; uneven clusters; numbers rounded so that there are ties; rows that coincide."""
    rng = np.random.default_rng(seed)
    # Five clumps of different sizes and widths; one image in twenty there twice.
    features = rng.normal(size=(5, 16))[(rng.random(n) ** 2 * 5).astype(int)] + rng.normal(size=(n, 16)) * 0.4
    features[: n // 20] = features[n // 2 : n // 2 + n // 20]
    unit = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    draws = rng.dirichlet(np.ones(4), (5, n)).round(1)
    ids = rng.permutation(rng.choice(10**12, n, replace=False))
    return PoolView(
        sample_id=ids,
        cluster=(rng.random(n) ** 2 * k).astype(np.int32),
        distance=rng.random(n).round(1).astype(np.float32),
        confidence=rng.random(n).round(2),
        variability=rng.random(n).round(2),
        k=k,
        features=unit,
        fresh_clusters=partial(cluster_features, unit[np.argsort(ids)]),
        probabilities=draws.mean(axis=0).round(1),
        probability_draws=draws.astype(np.float32),
        probability_views=rng.dirichlet(np.ones(4), (3, n)).round(1).astype(np.float32),
        labelled_score=rng.random(n).round(2),
        learnability=rng.random(n).round(2),
        learnability_variability=rng.random(n).round(2),
        pixel_cluster=rng.integers(0, k + 2, n).astype(np.int32),
        pixel_distance=rng.random(n).round(1).astype(np.float32),
        pixel_k=k + 2,
        labelled=rng.permutation(np.arange(n) < labelled) if labelled else None,
    )


def shuffled(view: PoolView, seed: int) -> PoolView:
    return view.take(np.random.default_rng(seed).permutation(len(view.sample_id)))


def label(view: PoolView, ids: Int64) -> PoolView:
    return dataclasses.replace(view, labelled=np.isin(view.sample_id, ids))


@every_strategy
@pytest.mark.parametrize(("n", "labelled"), [(1, 0), (2, 0), (2, 1), (203, 0), (203, 40), (203, 202)])
def test_exactly_the_budget_once_each_and_never_what_is_labelled(strategy: Strategy, n: int, labelled: int) -> None:
    view = pool(n, labelled=labelled)
    free = view.sample_id[view.unlabelled_rows]
    for budget in {1, min(10, len(free)), len(free)}:
        query = strategy.query(view, budget, seed=0)
        assert query.dtype == np.int64
        assert len(set(query.tolist())) == len(query) == budget
        assert set(query.tolist()) <= set(free.tolist())
    assert sorted(strategy.order(view, seed=0).tolist()) == sorted(free.tolist())


@every_strategy
@pytest.mark.parametrize("budget", [-1, 0, 164, 204])
def test_a_budget_that_cannot_be_is_refused_with_both_numbers(strategy: Strategy, budget: int) -> None:
    with pytest.raises(ValueError, match=f"budget of {budget} from 163 unlabelled"):
        strategy.query(pool(labelled=40), budget, seed=0)


@every_strategy
@pytest.mark.parametrize(("budget", "labelled"), [(12, 0), (203, 0), (12, 40)])
def test_row_order_does_not_matter(strategy: Strategy, budget: int, labelled: int) -> None:
    view = pool(labelled=labelled)
    expected = strategy.query(view, budget, seed=5).tolist()
    for seed in range(3):
        assert strategy.query(shuffled(view, seed), budget, seed=5).tolist() == expected


@every_strategy
def test_the_seed_decides_wherever_chance_does(strategy: Strategy) -> None:
    one, again, other = (strategy.query(pool(), 20, seed).tolist() for seed in (1, 1, 2))
    assert one == again
    if strategy.name in STRATEGIES:
        assert (one == other) == (strategy.name in THE_SAME_FOR_ALL_SEEDS)


@every_strategy
def test_the_view_is_left_alone(strategy: Strategy) -> None:
    view, untouched = pool(labelled=9), pool(labelled=9)
    strategy.order(view, seed=0)
    for field in dataclasses.fields(PoolView):
        if field.name != "fresh_clusters":  # a function, which has nothing to change
            assert np.array_equal(getattr(view, field.name), getattr(untouched, field.name))


@every_strategy
def test_budgets_nest_where_it_is_declared_and_only_there(strategy: Strategy) -> None:
    """Asked twice, next week with a larger budget: the second query starts with the first, for any two budgets."""
    budgets = (1, 6, 7, 8, 60, 203)
    queries = [strategy.query(shuffled(pool(), budget), budget, seed=3).tolist() for budget in budgets]
    assert strategy.nests == all(larger[: len(query)] == query for query, larger in itertools.pairwise(queries))


@every_strategy
@pytest.mark.parametrize("labelled", [1, 8, 60])
def test_a_query_goes_on_where_its_beginning_was_labelled(strategy: Strategy, labelled: int) -> None:
    if not strategy.nests:
        pytest.skip("does not promise it")
    order = strategy.order(pool(), seed=3)
    rest = strategy.query(label(pool(), order[:labelled]), 50, seed=3)
    assert rest.tolist() == order[labelled : labelled + 50].tolist()


@every_strategy
def test_clusters_share_a_budget_equally(strategy: Strategy) -> None:
    view = pool()
    by_cluster: dict[str, tuple[NDArray[np.int32] | None, int]] = {
        "cluster": (view.cluster, view.k),
        "pixel_cluster": (view.pixel_cluster, view.pixel_k),
    }
    if not strategy.by_turns:
        pytest.skip("not by clusters that it is given")
    cluster, k = by_cluster["cluster" if "cluster" in strategy.needs else "pixel_cluster"]
    assert cluster is not None
    sizes = np.bincount(cluster, minlength=k)
    cluster_of = dict(zip(view.sample_id.tolist(), cluster.tolist(), strict=True))
    order = [cluster_of[i] for i in strategy.order(view, seed=0).tolist()]
    assert sorted(order[:k]) == list(range(k))
    for budget in (10, 40, 150):
        taken = np.bincount(order[:budget], minlength=k)
        for c in range(k):  # whoever has fewer than another's count less one is exhausted
            assert taken[c] >= taken.max() - 1 or taken[c] == sizes[c]


@every_strategy
@pytest.mark.parametrize("column", COLUMNS)
def test_runs_exactly_when_it_has_what_it_needs(strategy: Strategy, column: str) -> None:
    without: dict[str, Any] = {column: None}
    view = dataclasses.replace(pool(), **without)
    if column in strategy.needs:
        with pytest.raises(ValueError, match=column):
            strategy.query(view, 30, seed=0)
    else:
        assert strategy.query(view, 30, seed=0).tolist() == strategy.query(pool(), 30, seed=0).tolist()


@every_strategy
def test_shuffling_hidden_labels_changes_nothing(strategy: Strategy) -> None:
    """All that was made with labels is in two columns, so other labels would be other columns."""
    assert strategy.sees_labels == (not set(MADE_WITH_LABELS).isdisjoint(strategy.needs))
    if strategy.sees_labels:
        pytest.skip("for analysis: has seen labels, and says so")
    view, rng = pool(), np.random.default_rng(1)
    others: dict[str, Any] = {name: rng.permutation(getattr(view, name)) for name in MADE_WITH_LABELS}
    assert strategy.order(dataclasses.replace(view, **others), seed=0).tolist() == strategy.order(view, seed=0).tolist()


def test_a_view_has_no_labels() -> None:
    assert set(COLUMNS) == {
        *("cluster", "distance", "confidence", "variability", "features", "labelled", "labelled_score"),
        *("probabilities", "probability_draws", "probability_views", "pixel_cluster", "pixel_distance"),
        *("fresh_clusters", *MADE_WITH_LABELS),
    }


@every_strategy
def test_it_names_its_source(strategy: Strategy) -> None:
    assert "Source: " in (inspect.getdoc(strategy.pick) or "")
    assert strategy.paper


@every_strategy
def test_it_has_words_for_the_report(strategy: Strategy) -> None:
    assert strategy.words and not strategy.words.endswith(".")
    assert strategy.why.endswith(".")


def test_which_strategies_ask_a_trained_classifier() -> None:
    expected = {"entropy", "margin", "least-confidence", "consistency", "bald"}
    assert {name for name, each in STRATEGIES.items() if each.scorer} == expected
