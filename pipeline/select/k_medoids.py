"""The middle of as many clusters as samples are wanted."""

from __future__ import annotations

import numpy as np

from pipeline.artifacts import Int64
from pipeline.select.fresh_clusters import fresh_clusters, largest_first
from pipeline.select.pool_view import PoolView
from pipeline.select.round_robin import in_turns


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """The sample nearest to the centroid of each of K clusters, K = budget; the largest cluster first.

    Labelled samples have clusters of their own (K = labelled + budget), and clusters with fewer of them come first.
    Beyond 500 clusters these take further turns, each with its next nearest sample.
    Source: SCIENCE.md section 7 ("closest to centroid, K=B"); a common baseline at low budgets.
    """
    found = fresh_clusters(view, budget, seed)
    turns = largest_first(np.bincount(found.labels))
    return in_turns(view, found.labels, found.distance, turns, budget)
