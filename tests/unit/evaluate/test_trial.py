"""Trials: every strategy through the same plain function, and no hidden label on the way."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from pipeline.errors import InputError
from pipeline.evaluate.choose import choose
from pipeline.evaluate.classifiers import Resources
from pipeline.evaluate.oracle import uniform
from pipeline.evaluate.parts import Parts, view_of
from pipeline.evaluate.samples import EvaluationData, Samples
from pipeline.evaluate.spec import TrialSpec, grid
from pipeline.evaluate.trial import TrialResult, run_trial
from pipeline.select import STRATEGIES, strategy
from tests.unit.evaluate.conftest import World

every_strategy = pytest.mark.parametrize("name", STRATEGIES)


def other_labels(data: EvaluationData, keep: np.ndarray | None = None) -> EvaluationData:
    """The same pool with its labels dealt out anew, but for those to keep."""
    labels = np.random.default_rng(9).permutation(data.train.labels)
    if keep is not None:
        labels[keep] = data.train.labels[keep]
    return replace(data, train=replace(data.train, labels=labels))


@every_strategy
def test_every_strategy_runs(world: World, name: str) -> None:
    result = run_trial(TrialSpec(name, 12, seed=1), world.data, world.parts, Resources())
    ids = np.array(result.ids)
    assert len(set(result.ids)) == 12 and ids.min() >= 0 and ids.max() < 160
    labels = world.data.train.labels[ids]
    assert result.covered == len(np.unique(labels)) / 4
    assert (result.auc is None) == (result.covered < 1)
    assert 0 <= result.balanced_accuracy <= 100 and result.seconds > 0
    assert result.oracle == strategy(name).sees_labels
    assert result.saw_test == strategy(name).scorer


@every_strategy
def test_shuffling_the_hidden_labels_changes_no_query(world: World, name: str) -> None:
    if strategy(name).sees_labels:
        pytest.skip("an analysis baseline: its map is made of labels")
    spec = TrialSpec(name, 20, seed=2)
    expected = choose(spec, world.data, world.parts, Resources())
    assert np.array_equal(choose(spec, other_labels(world.data), world.parts, Resources()), expected)


@every_strategy
def test_a_view_has_what_is_needed_and_nothing_else(world: World, name: str) -> None:
    view = view_of(TrialSpec(name, 12, seed=1), world.data, world.parts)
    columns = {each for each in vars(view) if getattr(view, each) is not None and each not in ("k", "pixel_k")}
    pairs = (("cluster", "distance"), ("pixel_cluster", "pixel_distance"), ("confidence", "variability"))
    allowed = {"sample_id", *strategy(name).needs, "learnability", "learnability_variability"}
    allowed |= {each for pair in pairs for each in pair if set(pair) & set(strategy(name).needs)}
    assert columns <= allowed and columns >= {"sample_id", *strategy(name).needs}


def test_the_figures_by_another_library(world: World) -> None:
    data = world.data
    result = run_trial(TrialSpec("random_covered", 30, seed=0), data, world.parts, Resources())
    rows = np.sort(result.ids)
    model = LogisticRegression(C=10, max_iter=2000).fit(data.train.vectors()[rows], data.train.labels[rows])
    found = model.predict_proba(data.test.vectors())
    expected = 100 * roc_auc_score(data.test.labels, found, multi_class="ovr")
    assert result.auc == pytest.approx(expected, abs=1e-6)
    assert result.accuracy == pytest.approx(100 * (found.argmax(1) == data.test.labels).mean())
    assert result.oracle and not result.saw_test and result.covered == 1


def test_uniform_is_the_oracle_of_the_strategys_order(world: World) -> None:
    spec = TrialSpec("hard-to-contrast", 20, seed=3, uniform=True)
    result = run_trial(spec, world.data, world.parts, Resources())
    order = strategy("hard-to-contrast").order(view_of(spec, world.data, world.parts), 3)
    assert list(result.ids) == uniform(order, world.data.train.labels, 4, 20).tolist()
    assert result.oracle and result.auc is not None
    assert np.bincount(world.data.train.labels[list(result.ids)]).tolist() == [5, 5, 5, 5]


@pytest.mark.slow
def test_an_honest_scorer_sees_its_own_half_only(world: World) -> None:
    spec = TrialSpec("entropy", 30, seed=4, scorer="labelled")
    result = run_trial(spec, world.data, world.parts, Resources())
    first = np.array(result.ids[:15])
    assert len(set(result.ids)) == 30 and not result.saw_test and not result.oracle
    assert first.tolist() == choose(TrialSpec("random", 15, seed=4), world.data, world.parts, Resources()).tolist()
    test = world.data.test
    hidden = replace(other_labels(world.data, keep=first), test=replace(test, labels=test.labels[::-1]))
    assert choose(spec, hidden, world.parts, Resources()).tolist() == list(result.ids)
    taught_otherwise = choose(spec, other_labels(world.data), world.parts, Resources())
    assert taught_otherwise[:15].tolist() == first.tolist() and taught_otherwise.tolist() != list(result.ids)
    with pytest.raises(InputError, match="budget of 2 or more"):
        choose(replace(spec, budget=1), world.data, world.parts, Resources())


def test_a_published_order(world: World) -> None:
    order = world.parts.orders["authors:hard"]
    result = run_trial(TrialSpec("authors:hard", 25, seed=0), world.data, world.parts, Resources())
    assert list(result.ids) == order[:25].tolist() and not result.oracle and not result.saw_test
    evened = run_trial(TrialSpec("authors:hard", 25, seed=0, uniform=True), world.data, world.parts, Resources())
    assert list(evened.ids) == uniform(order, world.data.train.labels, 4, 25).tolist() and evened.oracle
    with pytest.raises(InputError, match="ends after 60; the budget is 61"):
        choose(TrialSpec("authors:hard", 61, seed=0), world.data, world.parts, Resources())


def test_a_query_is_learnt_as_a_set(world: World) -> None:
    order = world.parts.orders["authors:hard"]
    backwards = Parts(orders={"authors:hard": order[:25][::-1]})
    spec = TrialSpec("authors:hard", 25, seed=0)
    first, second = (run_trial(spec, world.data, parts, Resources()) for parts in (world.parts, backwards))
    assert (first.auc, first.accuracy) == (second.auc, second.accuracy)


def test_what_is_missing_is_named(world: World) -> None:
    cases = {
        "hard-to-contrast": r"no clusters for the \(space, K, seed\) \('features', 12, 1\)",
        "lowest-confidence": "no confidences for the temperature 0.05",
        "entropy": "no scores for the seed 1",
        "vaal": "no scores of VAAL for the seed 1",
        "easy-to-learn": "needs the ground-truth map",
        "no-such-order": "no order 'no-such-order'",
    }
    for name, message in cases.items():
        with pytest.raises(InputError, match=message):
            choose(TrialSpec(name, 12, seed=1), world.data, Parts(), Resources())
    with pytest.raises(InputError, match="combine 'random' with uniform"):
        choose(TrialSpec("random_covered", 12, seed=1, uniform=True), world.data, Parts(), Resources())


def test_ids_are_readable_stable_and_different() -> None:
    specs = grid(["random", "random_covered", "entropy"], [11, 23], 2, uniform=(False, True), random_seeds=3)
    assert len(specs) == 2 * (3 * 2 + 3 + 2 * 2)
    variants = [replace(specs[0], **change) for change in ({"k": 7}, {"temperature": 0.2}, {"scorer": "labelled"})]
    assert len({spec.id for spec in specs + variants}) == len(specs) + 3
    # Written down: a change would make every finished trial a stranger.
    assert TrialSpec("authors:hard", 24, 0, uniform=True).id == "authors.hard-uniform-24-0-probe-33f7e698ed"
    assert TrialSpec("random", 59, 0).clusters == 30 and TrialSpec("random", 11, 0).clusters == 11


def test_rows_survive_a_parquet_schema(world: World) -> None:
    results = [
        run_trial(TrialSpec(name, 8, seed=0), world.data, world.parts, Resources()) for name in ("random", "margin")
    ]
    assert any(result.auc is None for result in results)
    table = pa.Table.from_pylist([result.to_row() for result in results])
    assert [TrialResult.from_row(row) for row in table.to_pylist()] == results


def test_samples() -> None:
    samples = Samples(np.array([4, 9, 7]), np.array([0, -1, 2]), None, lambda ids: ids[:, None])
    assert samples.take(np.array([2, 0])).images().tolist() == [[7], [4]]
    assert samples.known().ids.tolist() == [4, 7]
    with pytest.raises(ValueError, match="2 labels for 3 sample ids"):
        replace(samples, labels=np.zeros(2, int))
    with pytest.raises(ValueError, match=r"not 0 \.\. N-1"):
        EvaluationData(samples, samples, ("a",))
