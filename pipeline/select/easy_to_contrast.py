"""The opposite of HaCon, to measure it against."""

from __future__ import annotations

import numpy as np

from pipeline.artifacts import Float64, Int64
from pipeline.select.pool_view import PoolView
from pipeline.select.round_robin import in_turns, visiting_order


def key(view: PoolView) -> Float64:
    """(N,) highest confidence first, the exact reverse of hard-to-contrast; never drawn in training: last."""
    from scipy.stats import rankdata  # half a second to load

    assert view.confidence is not None
    return -rankdata(view.confidence, "ordinal", nan_policy="omit").astype(np.float64)


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """Highest confidence first inside each cluster, the clusters in turn.

    Each cluster's own order is that of hard-to-contrast reversed, ties included.
    Source: the dataset map of the paper (SCIENCE.md section 2) and the order `easy` of the authors.
    """
    assert view.cluster is not None
    return in_turns(view, view.cluster, key(view), visiting_order(view.k, seed), budget)
