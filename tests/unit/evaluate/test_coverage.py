"""Coverage and entropy by hand, against SciPy, and chance against its exact expectation."""

from __future__ import annotations

from math import comb, log2

import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy

from pipeline.evaluate.coverage import classes_covered, entropy_bits, random_baseline


def test_coverage_by_hand() -> None:
    assert classes_covered(np.array([2, 0, 2, 2]), 4) == 0.5
    assert classes_covered(np.array([0, 1, 2, 3, 3]), 4) == 1
    assert classes_covered(np.array([], int), 4) == 0
    assert classes_covered(np.array([7], np.int8), 8) == 0.125


def test_entropy_by_hand() -> None:
    assert entropy_bits(np.array([0, 1])) == 1
    assert entropy_bits(np.array([0, 0, 0, 1])) == pytest.approx(-0.75 * log2(0.75) + 0.25 * 2)
    assert entropy_bits(np.arange(8)) == 3
    assert entropy_bits(np.array([5, 5])) == 0
    assert str(entropy_bits(np.array([5, 5]))) == "0.0"
    assert entropy_bits(np.array([], int)) == 0


def test_entropy_against_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels = rng.integers(0, 6, size=rng.integers(1, 50))
        expected = scipy_entropy(np.unique(labels, return_counts=True)[1], base=2)
        assert entropy_bits(labels) == pytest.approx(expected, abs=1e-12)


def test_unknown_labels_stand_for_no_class() -> None:
    with_unknown, without = np.array([-1, 0, -1, 2, 2]), np.array([0, 2, 2])
    assert classes_covered(with_unknown, 4) == classes_covered(without, 4) == 0.5
    assert entropy_bits(with_unknown) == entropy_bits(without)
    assert entropy_bits(np.array([-1, -1])) == 0
    assert classes_covered(np.array([-1]), 3) == 0


def test_labels_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="labels -1 to 4 do not fit 4 classes"):
        classes_covered(np.array([0, 4]), 4)
    with pytest.raises(ValueError, match="labels -2"):
        entropy_bits(np.array([-2, 0]))
    with pytest.raises(ValueError, match="fit 0 classes"):
        classes_covered(np.array([], int), 0)
    with pytest.raises(ValueError, match="a budget of 4 from a pool of 3"):
        random_baseline(np.array([0, 1, 2]), 4)


def exact_coverage(sizes: list[int], n: int, budget: int) -> float:
    """Hypergeometric: a class of size m is missed with probability C(n-m, B) / C(n, B)."""
    return sum(1 - comb(n - m, budget) / comb(n, budget) for m in sizes) / len(sizes)


@pytest.mark.parametrize("unknown", [0, 60])
def test_random_against_the_hypergeometric_expectation(unknown: int) -> None:
    sizes = [200, 100, 40, 15, 5]
    labels = np.r_[np.repeat(np.arange(5), sizes), np.full(unknown, -1)]
    found = random_baseline(labels, 20, draws=20_000, seed=1)
    expected = exact_coverage(sizes, len(labels), 20)
    assert found.coverage_mean == pytest.approx(expected, abs=4 * found.coverage_std / 20_000**0.5)


def test_random_against_drawing_indices() -> None:
    labels = np.repeat(np.arange(4), [50, 30, 15, 5])
    rng = np.random.default_rng(2)
    queries = [labels[rng.choice(100, 10, replace=False)] for _ in range(4000)]
    coverage = np.array([classes_covered(query, 4) for query in queries])
    entropy = np.array([entropy_bits(query) for query in queries])
    found = random_baseline(labels, 10, draws=4000)
    assert found.coverage_mean == pytest.approx(coverage.mean(), abs=0.01)
    assert found.coverage_std == pytest.approx(coverage.std(), abs=0.01)
    assert found.entropy_mean == pytest.approx(entropy.mean(), abs=0.02)
    assert found.entropy_std == pytest.approx(entropy.std(), abs=0.02)


def test_random_from_more_than_numpy_draws_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares stay as they are, classes of one sample are kept, and a budget may still be all of the pool."""
    labels = np.r_[np.repeat(np.arange(4), [50_000, 30_000, 15_000, 5_000]), 4]
    exact = random_baseline(labels, 10, draws=4000)
    monkeypatch.setattr("pipeline.evaluate.coverage._MOST", 900)
    found = random_baseline(labels, 10, draws=4000)
    assert found.coverage_mean == pytest.approx(exact.coverage_mean, abs=0.01)
    assert found.entropy_mean == pytest.approx(exact.entropy_mean, abs=0.02)
    whole = random_baseline(labels, len(labels), draws=3)
    assert whole.coverage_mean == 1 and whole.entropy_mean == pytest.approx(entropy_bits(labels), abs=0.02)


def test_random_at_the_ends() -> None:
    labels = np.repeat(np.arange(3), [6, 3, 3])
    whole = random_baseline(labels, 12, draws=5)
    assert whole.coverage_mean == 1
    assert whole.coverage_std == 0
    assert whole.entropy_mean == pytest.approx(1.5)
    assert whole.entropy_std == pytest.approx(0)
    one = random_baseline(labels, 1, draws=5)
    assert one.coverage_mean == pytest.approx(1 / 3)
    assert one.entropy_mean == 0
    assert random_baseline(np.full(4, -1), 2).coverage_mean == 0


def test_the_number_of_classes_is_those_that_occur_unless_given() -> None:
    labels = np.array([0, 0, 7, 7])
    assert random_baseline(labels, 4, draws=3).coverage_mean == 1
    assert random_baseline(labels, 4, draws=3, classes=8).coverage_mean == 0.25


def test_random_is_seeded() -> None:
    labels = np.random.default_rng(0).integers(0, 10, 500)
    assert random_baseline(labels, 20, seed=3) == random_baseline(labels, 20, seed=3)
    assert random_baseline(labels, 20, seed=3) != random_baseline(labels, 20, seed=4)


def test_random_beside_the_papers_table_6() -> None:
    """CIFAR-10-LT at 24 and 37: the paper's random has .58 +- .10 and .66 +- .12, of draws it doesn't count."""
    sizes = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    labels = np.repeat(np.arange(10), sizes)
    for budget, printed, spread in ((24, 0.58, 0.10), (37, 0.66, 0.12)):
        found = random_baseline(labels, budget)
        assert found.coverage_mean == pytest.approx(exact_coverage(sizes, 12_406, budget), abs=0.02)
        assert found.coverage_mean == pytest.approx(printed, abs=spread)
