"""The league: gains over random of the same part, with a t interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_rel

from pipeline.evaluate.league import gains, league_csv, shares
from pipeline.evaluate.spec import TrialSpec, grid
from pipeline.evaluate.trial import TrialResult


def trial(strategy: str, part: int, seed: int, auc: float, budget: int = 8) -> TrialResult:
    """One row."""
    spec = TrialSpec(strategy, budget, seed, share=0.5, part=part)
    return TrialResult(spec, (1, 2), 0.5, 1.0, None, 40.0, auc / 2, 0.1, False, False, "", auc)


def test_a_gain_is_paired_by_part() -> None:
    rng = np.random.default_rng(0)
    chance = 60 + 10 * rng.random((5, 3))
    ours = chance.mean(axis=1) + np.array([1.0, 2, 3, 4, 5])
    trials = [trial("random", part, 5 * draw + part, chance[part, draw]) for part in range(5) for draw in range(3)]
    trials += [trial("coreset", part, part, ours[part]) for part in range(5)]
    auc, balanced = gains("r", "imagenet", trials)
    test = ttest_rel(ours, chance.mean(axis=1)).confidence_interval(0.95)
    assert (auc.gain, auc.gain - auc.half, auc.gain + auc.half) == pytest.approx((3, test.low, test.high))
    assert auc.verdict == "above" and auc.parts == 5 and auc.random == pytest.approx(chance.mean())
    assert balanced.figure == "balanced_accuracy" and balanced.gain == pytest.approx(1.5)
    assert shares([auc, balanced], "auc_with_chance") == {("imagenet", "coreset"): (1, 0, 0)}
    assert league_csv([auc])[1][:4] == ["r", "imagenet", "coreset", "probe"]


def test_one_part_and_trials_of_the_whole_pool_say_nothing() -> None:
    whole = [
        TrialResult(TrialSpec(name, 8, 0), (1,), 0, 0, None, 50, 50, 0, False, False, "", 50)
        for name in ("random", "coreset")
    ]
    assert gains("r", "moco", whole) == []
    assert gains("r", "moco", [trial("random", 0, 0, 50), trial("coreset", 0, 0, 60)]) == []


def test_a_grid_gives_every_strategy_the_same_parts_and_random_several_draws_of_each() -> None:
    specs = grid(["random", "coreset"], [8], 4, random_seeds=8, share=0.5)
    assert sorted(spec.part for spec in specs if spec.strategy == "random") == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [spec.part for spec in specs if spec.strategy == "coreset"] == [0, 1, 2, 3]
    rows = [spec.rows(100) for spec in specs if spec.part == 2]
    assert all(np.array_equal(rows[0], other) for other in rows) and len(rows[0]) == 50
    assert not np.array_equal(rows[0], specs[0].rows(100))
    assert len({spec.id for spec in specs}) == len(specs)


def test_a_trial_of_the_whole_pool_keeps_the_name_that_older_versions_gave_it() -> None:
    assert TrialSpec("coreset", 8, 0).id == "coreset-8-0-probe-f1ff1ec022"
