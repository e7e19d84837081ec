"""Queries that look at the pool's hidden labels: for analysis only, and marked as oracles in every table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Int64
from pipeline.errors import InputError

_DRAWS_AT_ONCE = 512
_MOST_DRAWS = 20_000_000
_LARGER = 4

Labels = NDArray[np.integer[Any]]


def uniform(order: Int64, labels: Labels, classes: int, budget: int) -> Int64:
    """Label diversity by oracle, the paper's "Unif.": the first of each *true* class in the strategy's order.

    Source: the authors' code (docs/method.md, decision 15): floor(B/C) of each class, the last class takes the rest
    of the budget, classes that have fewer in the order give what they have and are not refilled.

    Args:
        order: (M,) sample ids, first = label first; the whole pool or the beginning of it.
        labels: (N,) by sample id; -1 = unknown, never taken.

    Returns:
        (at most B,) sample ids, class after class.

    Raises:
        ValueError: a budget below 1.
    """
    of_class = labels[order]
    quotas = _quotas(classes, budget)
    return np.concatenate([order[of_class == c][: quotas[c]] for c in range(classes)])


def uniform_query(
    query: Callable[[int], Int64], labels: Labels, classes: int, budget: int, available: int | None = None
) -> Int64:
    """``uniform`` without ordering the whole pool: larger and larger queries, until every class has its part.

    The first is as large as a random one that holds every class's part in the mean, each further one four times as
    large. Where budgets nest, that is the same as the whole order. Where they do not (K-medoids with K = B), there is
    no order of the pool: the first of these queries that suffices stands for it.

    Args:
        query: budget -> (budget,) sample ids in order.
        labels: (N,) by sample id.
        available: the largest budget that ``query`` takes; none: N.

    Returns:
        (at most B,) sample ids.
    """
    most = len(labels) if available is None else available
    there = np.bincount(labels[labels >= 0], minlength=classes)
    wanted = np.minimum(_quotas(classes, budget), there)
    expected = int(np.ceil(wanted * len(labels) / np.maximum(there, 1)).max())
    size = min(max(budget, expected), most)
    while True:
        found = uniform(query(size), labels, classes, budget)
        if len(found) >= wanted.sum() or size == most:
            return found
        size = min(_LARGER * size, most)


def random_covered(labels: Labels, classes: int, budget: int, seed: int) -> Int64:
    """A random query, drawn again until it holds every class (docs/method.md, decision 17: random of Table 1).

    Only the class counts are drawn again and again, by the law that they follow; which samples of each
    class is drawn once, at the end. So thousands of rejected draws cost milliseconds.

    Args:
        labels: (N,) by sample id; -1 = unknown, drawn like the others.

    Returns:
        (B,) sample ids in random order.

    Raises:
        InputError: no such query can be, or it is too rare to be found by chance.
    """
    known = np.bincount(labels[labels >= 0], minlength=classes)
    if budget > len(labels) or budget < classes or (known == 0).any():
        raise InputError(
            f"No query of {budget} from {len(labels)} samples can hold all {classes} classes "
            f"({np.count_nonzero(known)} occur); raise the budget or leave out random_covered."
        )
    rng = np.random.default_rng(seed)
    kinds = np.r_[known, len(labels) - known.sum()]
    counts = _covering_counts(rng, kinds, budget)
    picked = []
    for c, count in enumerate(counts):
        members = np.flatnonzero(labels == c if c < classes else labels < 0)
        picked.append(rng.choice(members, count, replace=False))
    return rng.permutation(np.concatenate(picked))


def _covering_counts(rng: np.random.Generator, kinds: NDArray[Any], budget: int) -> Int64:
    """(kinds,) of the first random draw that has something of all but the last kind (the unlabelled)."""
    for _ in range(_MOST_DRAWS // _DRAWS_AT_ONCE):
        counts = rng.multivariate_hypergeometric(kinds, budget, size=_DRAWS_AT_ONCE)
        covering = np.flatnonzero((counts[:, :-1] > 0).all(1))
        if len(covering):
            return counts[covering[0]]
    raise InputError(
        f"Not one of {_MOST_DRAWS:,} random queries of {budget} held every class; raise the budget "
        "or leave out random_covered."
    )


def _quotas(classes: int, budget: int) -> Int64:
    """(C,) how many of each class."""
    if budget < 1:
        raise ValueError(f"a budget of {budget}")
    each = budget // classes
    return np.r_[np.full(classes - 1, each), budget - each * (classes - 1)]
