"""What a discriminator finds least like the labelled."""

from __future__ import annotations

from pipeline.artifacts import Int64
from pipeline.select.global_sort import lowest_first
from pipeline.select.pool_view import PoolView


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """Lowest probability of being labelled first.

    Source: the paper's VAAL (SCIENCE.md section 4), Sinha, Ebrahimi & Darrell, "Variational adversarial active
    learning" (ICCV 2019).
    """
    assert view.labelled_score is not None
    return lowest_first(view, view.labelled_score, budget)
