"""How diverse a query is: share of classes covered and entropy, next to chance.

Source: Table 6 of the paper (coverage); docs/method.md, section 2 (entropy). A label of -1 means unknown: such a
sample costs its place in the budget but stands for no class, so it is ignored in both figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Float64, Int64

Labels = NDArray[np.integer[Any]]
_MOST = 9 * 10**8
"""Samples that random queries are drawn from."""


@dataclass(frozen=True)
class RandomBaseline:
    """Mean and standard deviation over the draws: coverage as a share in 0..1, entropy in bits."""

    coverage_mean: float
    coverage_std: float
    entropy_mean: float
    entropy_std: float


def classes_covered(labels_of_query: Labels, classes: int) -> float:
    """Share of the ``classes`` (numbered 0 .. classes-1) of which the query holds a sample at least.

    Args:
        labels_of_query: (B,) class numbers; -1 = unknown.

    Raises:
        ValueError: no classes, or a label outside -1 .. classes-1.
    """
    return float(_coverage(_counts(labels_of_query, classes)))


def entropy_bits(labels_of_query: Labels) -> float:
    """Shannon entropy, in bits, of the query's class distribution (B,); 0 where no label is known.

    Raises:
        ValueError: a label below -1.
    """
    return float(_entropy(_counts(labels_of_query, _classes_seen(labels_of_query))))


def random_baseline(
    labels: Labels, budget: int, draws: int = 1000, seed: int = 0, classes: int | None = None
) -> RandomBaseline:
    """Both figures for queries of ``budget`` samples drawn without replacement from the pool.

    Args:
        labels: (N,) of the whole pool; -1 = unknown, drawn like the others.
        classes: number of classes in all; none: those that occur in ``labels``.

    Raises:
        ValueError: a budget outside 0 .. N, or labels that do not fit ``classes``.
    """
    if not 0 <= budget <= len(labels):
        raise ValueError(f"a budget of {budget} from a pool of {len(labels)}")
    known = _counts(labels, _classes_seen(labels) if classes is None else classes)
    if classes is None and known.any():
        known = known[known > 0]
    # The class counts of a draw are all that matters, and they follow this law exactly.
    kinds = np.r_[known, len(labels) - known.sum()]
    # NumPy draws from fewer than 10^9; of more, every so many stand for one: the shares of classes stay as they are.
    kinds = -(-kinds // (1 + len(labels) // _MOST))
    budget = min(budget, int(kinds.sum()))
    counts = np.random.default_rng(seed).multivariate_hypergeometric(kinds, budget, size=draws)[:, :-1]
    coverage, entropy = _coverage(counts), _entropy(counts)
    return RandomBaseline(float(coverage.mean()), float(coverage.std()), float(entropy.mean()), float(entropy.std()))


def _classes_seen(labels: Labels) -> int:
    return 1 + int(np.max(labels, initial=0))


def _counts(labels: Labels, classes: int) -> Int64:
    lowest, highest = int(np.min(labels, initial=-1)), int(np.max(labels, initial=-1))
    if classes < 1 or lowest < -1 or highest >= classes:
        raise ValueError(f"labels {lowest} to {highest} do not fit {classes} classes")
    return np.bincount(labels[labels >= 0], minlength=classes)


def _coverage(counts: Int64) -> Float64:
    """(..., C) samples of each class -> (...) share of classes that have any."""
    return np.asarray((counts > 0).mean(axis=-1))


def _entropy(counts: Int64) -> Float64:
    """(..., C) samples of each class -> (...) entropy in bits."""
    share = counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1)
    # + 0.0 turns the -0.0 of a one-class query into 0.0.
    return np.asarray(-(share * np.log2(np.where(share > 0, share, 1.0))).sum(axis=-1) + 0.0)
