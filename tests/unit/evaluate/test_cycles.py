"""Active-learning cycles: sizes, honesty, figures."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from pipeline.errors import InputError
from pipeline.evaluate.choose import choose
from pipeline.evaluate.classifiers import Resources, network_settings
from pipeline.evaluate.cycles import LATER, CyclePoint, CycleResult, CycleSpec, first_against_last, run_cycles
from pipeline.evaluate.spec import TrialSpec
from tests.unit.evaluate.conftest import World

pytestmark = pytest.mark.slow

SHORT = CycleSpec("hard-to-contrast", "entropy", 1, start=8, step=5, end=18)


@pytest.fixture(scope="module")
def curves(world: World) -> dict[str, CycleResult]:
    specs = [replace(SHORT, later=later, end=18 if later == "entropy" else 13) for later in LATER]
    return {spec.later: run_cycles(spec, world.data, world.parts, Resources()) for spec in specs}


@pytest.mark.slow
@pytest.mark.parametrize("later", LATER)
def test_a_curve(world: World, curves: dict[str, CycleResult], later: str) -> None:
    result = curves[later]
    assert [point.labelled for point in result.points] == result.spec.sizes == [8, 13, 18][: len(result.points)]
    assert len(set(result.ids)) == len(result.ids) == result.spec.end
    first = choose(TrialSpec("hard-to-contrast", 8, 1), world.data, world.parts, Resources())
    assert list(result.ids[:8]) == first.tolist()
    assert not result.oracle and not result.saw_test
    labels = world.data.train.labels[list(result.ids)]
    assert result.points[-1].covered == len(np.unique(labels)) / 4


def test_the_last_point_by_another_library(world: World, curves: dict[str, CycleResult]) -> None:
    result = curves["entropy"]
    data, rows = world.data, np.sort(result.ids)
    labels = data.train.labels[rows]
    model = LogisticRegression(C=10, max_iter=2000).fit(data.train.vectors()[rows], labels)
    found = np.zeros((len(data.test), 4))
    found[:, model.classes_] = model.predict_proba(data.test.vectors())
    areas = [100 * roc_auc_score(data.test.labels == c, found[:, c]) for c in range(4)]
    assert result.points[-1].auc == pytest.approx(np.mean(areas), abs=1e-6)
    # What was never taught has a constant score, and with it 50%.
    assert all(areas[c] == 50 for c in range(4) if c not in labels)


def test_only_what_is_labelled_is_read(world: World, curves: dict[str, CycleResult]) -> None:
    result = curves["entropy"]
    labels = np.random.default_rng(0).permutation(world.data.train.labels)
    labels[list(result.ids)] = world.data.train.labels[list(result.ids)]
    hidden = replace(world.data, train=replace(world.data.train, labels=labels))
    again = run_cycles(SHORT, hidden, world.parts, Resources())
    assert (again.ids, again.points) == (result.ids, result.points)


@pytest.mark.usefixtures("tiny_encoder")
def test_with_a_network_that_scores_itself(world: World) -> None:
    quick = replace(network_settings("small"), epochs=1, least_steps=2)
    spec = replace(SHORT, later="bald", classifier="resnet18", end=13)
    torch.manual_seed(0)
    result = run_cycles(spec, world.data, world.parts, Resources(network=quick))
    assert [point.labelled for point in result.points] == [8, 13] and len(set(result.ids)) == 13


def test_later_strategies_go_different_ways(world: World, curves: dict[str, CycleResult]) -> None:
    assert len({result.ids[8:13] for result in curves.values()}) == len(LATER)
    again = run_cycles(replace(SHORT, later="random", end=13), world.data, world.parts, Resources())
    assert again.ids == curves["random"].ids


@pytest.mark.slow
def test_an_honest_first_query_saw_no_test_label(world: World) -> None:
    """Half of it is random, and the other half is by a scorer that was trained on the first: a trial's own query."""
    spec = replace(SHORT, initial="entropy", later="random", end=8, scorer="labelled")
    result = run_cycles(spec, world.data, world.parts, Resources())
    first = choose(TrialSpec("entropy", 8, 1, scorer="labelled"), world.data, world.parts, Resources())
    assert list(result.ids) == first.tolist() and not result.saw_test
    by_chance = choose(TrialSpec("random", 4, 1), world.data, world.parts, Resources())
    assert first[:4].tolist() == by_chance.tolist()
    papers = run_cycles(replace(spec, scorer="test"), world.data, world.parts, Resources())
    assert papers.saw_test and papers.ids != result.ids and papers.spec.id != spec.id


def test_vaal_compares_with_what_is_labelled_and_labels_make_an_oracle(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[np.ndarray] = []

    def score(images: np.ndarray, labelled: np.ndarray, *_: object, **__: object) -> np.ndarray:
        asked.append(np.flatnonzero(labelled))
        return np.arange(len(images)) / len(images)

    monkeypatch.setattr("pipeline.evaluate.cycles.labelled_score", score)
    result = run_cycles(replace(SHORT, later="vaal", end=13), world.data, world.parts, Resources())
    assert [sorted(result.ids[:8])] == [each.tolist() for each in asked]
    free = [i for i in range(160) if i not in result.ids[:8]]
    assert list(result.ids[8:]) == free[:5] and not result.oracle
    assert run_cycles(replace(SHORT, later="easy-to-learn", end=13), world.data, world.parts, Resources()).oracle


def test_correlation_of_first_and_last() -> None:
    first, last = [60.0, 65.0, 70.0, 80.0], [70.0, 71.0, 78.0, 84.0]
    curves = [
        CycleResult(
            replace(SHORT, seed=seed),
            tuple(CyclePoint(size, auc, 0, 0, 1, 2) for size, auc in ((8, a), (13, 0.0), (18, b))),
            (),
            1.0,
            False,
            False,
            "",
        )
        for seed, (a, b) in enumerate(zip(first, last, strict=True))
    ]
    found = first_against_last(curves)
    assert found is not None and found.n == 4 and found.r == pytest.approx(np.corrcoef(first, last)[0, 1])
    assert first_against_last(curves[:2]) is None


def test_rows_survive_json(world: World) -> None:
    result = run_cycles(replace(SHORT, end=8), world.data, world.parts, Resources())
    assert CycleResult.from_row(json.loads(json.dumps(result.to_row()))) == result
    assert (
        len({SHORT.id, replace(SHORT, seed=2).id, replace(SHORT, end=28).id, replace(SHORT, scorer="labelled").id}) == 4
    )


def test_a_curve_from_before_there_was_a_choice_of_scorer_is_the_same_one() -> None:
    old = CycleResult(SHORT, (CyclePoint(8, 60.0, 0, 0, 1, 2),), (1, 2), 1.0, False, False, "").to_row()
    del old["scorer"]
    assert CycleResult.from_row(old).spec == SHORT
    # Named by the code of 7942fc2, which knew no scorer.
    assert SHORT.id == "hard-to-contrast-then-entropy-1-probe-3320e45c88"


def test_sizes_that_make_no_curve(world: World) -> None:
    for spec in (replace(SHORT, start=0), replace(SHORT, end=7), replace(SHORT, end=161), replace(SHORT, step=0)):
        with pytest.raises(InputError, match="Cycles from"):
            run_cycles(spec, world.data, world.parts, Resources())
    assert CycleSpec("random", "random", 0).sizes == [20, 30, 40, 50]
