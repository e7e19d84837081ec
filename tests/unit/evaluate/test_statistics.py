"""Statistics by hand and against SciPy."""

from __future__ import annotations

import warnings
from math import exp, log

import numpy as np
import pytest
from scipy import stats

from pipeline.evaluate.statistics import Saved, annotation_saved, difference_interval, holm, pearson, summarise, welch


def test_mean_and_deviation_by_hand() -> None:
    found = summarise([1.0, 2.0, 6.0])
    assert (found.n, found.mean) == (3, 3.0) and found.std == pytest.approx(7**0.5)
    assert summarise([4.0]) == type(found)(1, 4.0, 0.0, 4.0, 4.0)
    with pytest.raises(ValueError, match="no values"):
        summarise([])


def test_the_interval_against_scipy() -> None:
    values = np.random.default_rng(0).gamma(2, 3, 40)
    found = summarise(values.tolist(), seed=1)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=0.08)
    assert summarise(values.tolist(), seed=1) == found


def test_the_interval_of_two_values_exactly() -> None:
    # The mean of a resample is 0, 1/2 or 1 with probability 1/4, 1/2, 1/4: all within 95%.
    found = summarise([0.0, 1.0])
    assert (found.low, found.high) == (0.0, 1.0)
    # 40%: the middle half of the resamples is 1/2.
    narrow = summarise([0.0, 1.0], level=0.4)
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_the_interval_of_a_difference_by_another_library() -> None:
    rng = np.random.default_rng(0)
    ours, other = rng.normal(3, 1, 12), rng.normal(1, 2, 30)
    found = stats.bootstrap(
        (ours, other), lambda a, b, axis: a.mean(axis) - b.mean(axis), method="percentile", rng=1, n_resamples=20_000
    )
    expected = found.confidence_interval
    assert difference_interval(list(ours), list(other)) == pytest.approx((expected.low, expected.high), abs=0.05)


def test_holm_by_hand() -> None:
    # 0.01 x 4, then 0.02 x 3, then max(0.06, 0.03 x 2), then 0.9 x 1.
    assert holm([0.9, 0.01, 0.03, 0.02]) == pytest.approx([0.9, 0.04, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([]) == []


def test_welch_by_scipy_and_where_nothing_varies() -> None:
    ours, other = [1.0, 2.0, 4.0], [2.0, 5.0, 6.0, 9.0]
    assert welch(ours, other) == pytest.approx(stats.ttest_ind(ours, other, equal_var=False).pvalue)
    assert welch([1.0, 1.0, 1.0], [2.0, 2.0]) is None and welch([1.0, 1.0 + 1e-15], [1.0, 1.0]) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 0 < (welch([50.0, 50.0, 50.0 + 1e-14], ours) or 0) < 1e-3


def test_pearson() -> None:
    rng = np.random.default_rng(0)
    x = rng.random(12)
    y = x + rng.random(12)
    found = pearson(x.tolist(), y.tolist())
    assert found is not None and found.n == 12
    assert found.r == pytest.approx(np.corrcoef(x, y)[0, 1])
    t = found.r * (10 / (1 - found.r**2)) ** 0.5
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), 10))
    assert pearson([1.0, 2.0], [1.0, 2.0]) is None and pearson([1.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0]) is None
    with pytest.raises(ValueError, match="2 values against 3"):
        pearson([1.0, 2.0], [1.0, 2.0, 3.0])


def test_annotation_saved_by_hand() -> None:
    random = {10: 60.0, 40: 80.0, 160: 90.0}
    # 70 is half way between 60 and 80, so random reaches it half way between 10 and 40 on a logarithmic axis: at 20.
    # 90 it reaches at 160 exactly, 95 never, and 50 before its smallest budget.
    found = annotation_saved({10: 70.0, 40: 90.0, 80: 95.0, 20: 50.0}, random)
    assert found == [
        Saved(10, pytest.approx(0.5), "exactly"),
        Saved(20, pytest.approx(-1.0), "at most"),
        Saved(40, pytest.approx(0.75), "exactly"),
        Saved(80, pytest.approx(0.5), "at least"),
    ]
    assert annotation_saved({10: 60.0}, random) == [Saved(10, 0.0, "exactly")]
    with pytest.raises(ValueError, match="no budget"):
        annotation_saved({10: 70.0}, {})


def test_a_dip_of_randoms_curve_does_not_count() -> None:
    # At 20 random has 70 already; that 40 measured less does not make 65 cost more than what lies between 10 and 20.
    found = annotation_saved({10: 65.0}, {10: 60.0, 20: 70.0, 40: 65.0, 80: 80.0})
    needed = exp(log(10) + 0.5 * log(2))
    assert found == [Saved(10, pytest.approx(1 - 10 / needed), "exactly")]


def test_against_itself_nothing_is_saved() -> None:
    curve = {11: 62.0, 23: 71.5, 59: 80.0, 119: 84.0}
    assert all(abs(each.share) < 1e-12 for each in annotation_saved(curve, curve))
