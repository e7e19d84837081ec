"""Statistics over trials: mean and spread, bootstrap intervals, correlation, annotation saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Summary:
    """Of n values. ``std`` is the sample's (n - 1), 0 for one value; ``low`` and ``high`` bound the mean."""

    n: int
    mean: float
    std: float
    low: float
    high: float


@dataclass(frozen=True)
class Correlation:
    """Pearson's r and its two-sided p, over n pairs."""

    r: float
    p: float
    n: int


@dataclass(frozen=True)
class Saved:
    """Share of the annotation that a strategy saves at one budget, in 0 .. 1; negative where it costs more."""

    budget: int
    share: float
    bound: Literal["exactly", "at least", "at most"]
    """at least: random never got that far; at most: random was as good at its smallest budget already."""


def summarise(values: Sequence[float], seed: int = 0, level: float = 0.95, resamples: int = 10_000) -> Summary:
    """Mean, standard deviation and the percentile bootstrap interval of the mean (Efron & Tibshirani 1993, 13.3).

    Args:
        values: (n,), one or more. With few of them the interval is too narrow, as all such intervals are.
        seed: of the resamples, so that a table is the same whenever it is made.

    Raises:
        ValueError: no values.
    """
    given = np.asarray(values, np.float64)
    if not len(given):
        raise ValueError("no values to summarise")
    low, high = bootstrap_interval(given, seed, level, resamples)
    std = float(given.std(ddof=1)) if len(given) > 1 else 0.0
    return Summary(len(given), float(given.mean()), std, low, high)


def bootstrap_interval(values: NDArray[Any], seed: int, level: float, resamples: int) -> tuple[float, float]:
    """Percentiles (1 - level) / 2 and (1 + level) / 2 of the means of resamples with replacement."""
    rows = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    low, high = np.quantile(values[rows].mean(1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def difference_interval(
    of: Sequence[float], minus: Sequence[float], seed: int = 0, level: float = 0.95, resamples: int = 10_000
) -> tuple[float, float]:
    """The percentile bootstrap interval of mean(of) - mean(minus), two independent samples each resampled
    (Efron & Tibshirani 1993, 16.2). With few of them it is too narrow.
    """
    rng = np.random.default_rng(seed)
    means = [
        np.asarray(values, np.float64)[rng.integers(0, len(values), (resamples, len(values)))].mean(1)
        for values in (of, minus)
    ]
    low, high = np.quantile(means[0] - means[1], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def welch(of: Sequence[float], minus: Sequence[float]) -> float | None:
    """Two-sided p of Welch's test that two independent samples have one mean; None where neither varies."""
    from scipy.stats import ttest_ind_from_stats  # a second, which most of this module need not wait for

    if max(np.ptp(of), np.ptp(minus)) <= _ROUNDING:
        return None
    moments = [figure for each in (of, minus) for figure in (np.mean(each), np.std(each, ddof=1), len(each))]
    return float(ttest_ind_from_stats(*moments, equal_var=False).pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """The p-values, each corrected for all of them, in their order.

    Some true null hypothesis is below a level with that probability at most, whatever depends on what.
    Source: Holm, "A simple sequentially rejective multiple test procedure" (1979).
    """
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    factors = np.arange(len(p), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(np.asarray(p, np.float64)[order] * factors), 1)
    return [float(each) for each in corrected]


def pearson(x: Sequence[float], y: Sequence[float]) -> Correlation | None:
    """Pearson's correlation; None for fewer than three pairs or a constant, where it says nothing.

    Raises:
        ValueError: not as many of one as of the other.
    """
    from scipy.stats import pearsonr  # a second, which most of this module need not wait for

    if len(x) != len(y):
        raise ValueError(f"{len(x)} values against {len(y)}")
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    found = pearsonr(x, y)
    return Correlation(float(found.statistic), float(found.pvalue), len(x))


def annotation_saved(curve: Mapping[int, float], random: Mapping[int, float]) -> list[Saved]:
    """How much less a strategy has to have labelled than random for the same AUC, at each of its budgets.

    At budget B the strategy reaches an AUC of a. Random reaches it at B_r. Random's mean curve is made non-decreasing
    (running maximum) and interpolated linearly over the logarithm of the budget; B_r is the least budget where it is a.
    Saved is 1 - B / B_r. The paper prints 61, 21 and 52% (Path, OrganA, Blood) "early on", and no formula. This one is
    ours, and the smallest budget is the one to set beside theirs.

    Args:
        curve: budget -> mean AUC of the strategy.
        random: budget -> mean AUC of random; more budgets, finer answers.

    Raises:
        ValueError: random has no budget.
    """
    if not random:
        raise ValueError("random was measured at no budget")
    budgets = np.array(sorted(random))
    reached = np.maximum.accumulate([random[budget] for budget in budgets])
    return [_saved(budget, curve[budget], budgets, reached) for budget in sorted(curve)]


def _saved(budget: int, auc: float, budgets: NDArray[Any], reached: NDArray[Any]) -> Saved:
    if auc > reached[-1]:
        return Saved(budget, float(1 - budget / budgets[-1]), "at least")
    first = int(np.searchsorted(reached, auc))  # the first that is not below
    if first == 0:
        return Saved(budget, float(1 - budget / budgets[0]), "exactly" if auc == reached[0] else "at most")
    share = (auc - reached[first - 1]) / (reached[first] - reached[first - 1])
    needed = np.exp(np.log(budgets[first - 1]) + share * np.log(budgets[first] / budgets[first - 1]))
    return Saved(budget, float(1 - budget / needed), "exactly")
