"""The strategies that sort the whole pool by one number: by hand, by slow loops, and by SciPy's entropy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats

from pipeline.select import PoolView, strategy
from pipeline.select.by_score import entropies, inconsistency, margins, mutual_information

IDS = np.array([40, 10, 30, 20])
PROBABILITIES = np.array([[0.5, 0.5, 0.0], [0.4, 0.3, 0.3], [1.0, 0.0, 0.0], [0.5, 0.25, 0.25]])


@pytest.mark.parametrize(
    ("name", "columns", "expected"),
    [
        # Entropies: 1 bit for 40, 1.57 for 10, 0 for 30, 1.5 for 20.
        ("entropy", {"probabilities": PROBABILITIES}, [10, 20, 40, 30]),
        # Margins: 0, .1, 1, .25.
        ("margin", {"probabilities": PROBABILITIES}, [40, 10, 20, 30]),
        # Largest: .5, .4, 1, .5: 20 and 40 tie, the lower id first.
        ("least-confidence", {"probabilities": PROBABILITIES}, [10, 20, 40, 30]),
        ("vaal", {"labelled_score": np.array([0.2, 0.9, 0.1, 0.2])}, [30, 20, 40, 10]),
        ("easy-to-learn", {"learnability": np.array([0.2, 0.9, 0.1, 0.2])}, [10, 20, 40, 30]),
        ("hard-to-learn", {"learnability": np.array([0.2, 0.9, 0.1, 0.2])}, [30, 20, 40, 10]),
        ("ambiguous-to-learn", {"learnability_variability": np.array([0.2, 0.9, 0.1, 0.2])}, [10, 20, 40, 30]),
    ],
)
def test_by_hand(name: str, columns: dict[str, Any], expected: list[int]) -> None:
    assert strategy(name).order(PoolView(IDS, **columns), seed=0).tolist() == expected
    labelled = PoolView(IDS, **columns, labelled=expected[0] == IDS)
    assert strategy(name).query(labelled, 2, seed=0).tolist() == expected[1:3]


def test_bald_wants_draws_that_are_sure_and_disagree() -> None:
    sure_and_agreed = [[1.0, 0.0], [1.0, 0.0]]
    sure_and_split = [[1.0, 0.0], [0.0, 1.0]]
    unsure = [[0.5, 0.5], [0.5, 0.5]]
    half = [[1.0, 0.0], [0.5, 0.5]]
    draws = np.array([sure_and_agreed, sure_and_split, unsure, half]).swapaxes(0, 1)
    view = PoolView(IDS, probability_draws=draws)
    # One bit where the draws split; H(3/4) - 1/2 bit where one of two is unsure; none otherwise.
    h = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) - 0.5 * math.log(2)
    np.testing.assert_allclose(mutual_information(view), [0, math.log(2), 0, h], atol=1e-12)
    assert strategy("bald").order(view, seed=0).tolist() == [10, 20, 30, 40]


def test_consistency_wants_what_augmentation_changes() -> None:
    views = np.array([[[0.5, 0.5], [0.9, 0.1], [0.7, 0.3], [1, 0]], [[0.5, 0.5], [0.1, 0.9], [0.5, 0.5], [0, 1]]])
    view = PoolView(IDS, probability_views=views)
    # Variances of (.9, .1) are .16 in either class, of (.7, .5) .01, of (1, 0) .25.
    np.testing.assert_allclose(inconsistency(view), [0, 0.32, 0.02, 0.5], atol=1e-12)
    assert strategy("consistency").order(view, seed=0).tolist() == [20, 10, 30, 40]


def test_on_random_predictions_against_slow_loops() -> None:
    rng = np.random.default_rng(0)
    n, c = 30, 5
    p, draws, views = (rng.dirichlet(np.ones(c), shape) for shape in (n, (7, n), (4, n)))
    view = PoolView(np.arange(n), probabilities=p, probability_draws=draws, probability_views=views)
    np.testing.assert_allclose(entropies(p), scipy.stats.entropy(p, axis=1))
    for i in range(n):
        ranked = sorted(p[i])
        assert margins(p)[i] == pytest.approx(ranked[-1] - ranked[-2])
        mean = [sum(draw[i, k] for draw in draws) / 7 for k in range(c)]
        expected = -sum(m * math.log(m) for m in mean)
        expected += sum(draw[i, k] * math.log(draw[i, k]) for draw in draws for k in range(c)) / 7
        assert mutual_information(view)[i] == pytest.approx(expected)
        variances = (sum((v[i, k] - views[:, i, k].mean()) ** 2 for v in views) / 4 for k in range(c))
        assert inconsistency(view)[i] == pytest.approx(sum(variances))


def test_sure_predictions_have_entropy_zero_and_a_single_class_no_margin() -> None:
    assert entropies(np.array([[1.0, 0.0]])).tolist() == [0.0]
    assert margins(np.ones((2, 1))).tolist() == [0.0, 0.0]
