"""What the scorer is most unsure of, by its best guess alone."""

from __future__ import annotations

from pipeline.artifacts import Int64
from pipeline.select.global_sort import lowest_first
from pipeline.select.pool_view import PoolView


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """Lowest probability of the most probable class first.

    Not to be confused with ``lowest_confidence``, whose confidence is that of Eq. 3 and needs no scorer.
    Source: Lewis & Gale, "A sequential algorithm for training text classifiers" (SIGIR 1994); none of the paper's
    (SCIENCE.md section 4).
    """
    assert view.probabilities is not None
    return lowest_first(view, view.probabilities.max(axis=1), budget)
