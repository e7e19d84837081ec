"""Where draws of the scorer are each sure, and disagree."""

from __future__ import annotations

import numpy as np

from pipeline.artifacts import Float64, Int64
from pipeline.select.entropy import entropies
from pipeline.select.global_sort import lowest_first
from pipeline.select.pool_view import PoolView


def mutual_information(view: PoolView) -> Float64:
    """(N,) entropy of the mean prediction less mean entropy of the predictions, in nats."""
    assert view.probability_draws is not None
    draws = view.probability_draws
    return np.asarray(
        entropies(draws.mean(axis=0, dtype=np.float64)) - np.mean([entropies(draw) for draw in draws], axis=0)
    )


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """Highest mutual information between prediction and weights first.

    Source: the paper's BALD (SCIENCE.md section 4), Houlsby et al., "Bayesian active learning for classification and
    preference learning" (2011), with dropout as the posterior: Gal, Islam & Ghahramani (ICML 2017).
    """
    return lowest_first(view, -mutual_information(view), budget)
