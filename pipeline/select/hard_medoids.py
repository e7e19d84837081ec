"""Medoids for the hard: what is hard to contrast is to have a labelled sample near it."""

from __future__ import annotations

import numpy as np

from pipeline.artifacts import Float32, Int64
from pipeline.select.facility_location import facility_location
from pipeline.select.greedy_medoids import nearness
from pipeline.select.pool_view import PoolView


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """Greedy medoids of a pool in which each sample counts by its hardness, from 1, its cluster's hardest, to 0.

    The hardest themselves lie between groups and make poor labels (docs/results.md); a sample in their middle is near
    many of them. So they say where to label, not what.
    Source: the objective of PAM (Kaufman & Rousseeuw 1990), weighted by the rank of the paper's confidence (Eq. 3)
    inside its clusters; measured in docs/results.md, "One nested order"; SCIENCE.md section 7.
    """
    return facility_location(view, budget, seed, nearness, hardness(view))


def hardness(view: PoolView) -> Float32:
    """(N,) by rank: 1 for the lowest confidence of a cluster, 0 for its highest; one never drawn counts as easy."""
    assert view.cluster is not None and view.confidence is not None
    rows = np.lexsort((view.confidence, view.cluster))
    sizes = np.bincount(view.cluster, minlength=view.k)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    found = np.empty(len(rows), np.float32)
    found[rows] = 1 - place / np.maximum(np.repeat(sizes, sizes) - 1, 1)
    return found
