"""Leave no sample far from a labelled one."""

from __future__ import annotations

import numpy as np

from pipeline.artifacts import Int64
from pipeline.select.pool_view import PoolView

EQUAL = 1e-6
"""Squared distances between features of unit norm that differ by less are equal: float32 may not tell them apart."""


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """k-centre greedy: always the sample farthest from all that are labelled or picked; of equals, the lower id.

    It starts from the labelled samples; where there are none, from one drawn by the seed. Time O(picks x N x D), memory
    O(N) beside the features (and a copy of the unpicked, once a tenth of the pool is picked).
    Source: the paper's coreset (SCIENCE.md section 4), the greedy of Sener & Savarese, "Active learning for
    convolutional neural networks: a core-set approach" (ICLR 2018).
    """
    assert view.features is not None
    rows, points = np.arange(len(view.features)), view.features
    norms = np.einsum("nd,nd->n", points, points)
    # Squared distance to the nearest that is labelled or picked; -1 for these themselves.
    nearest = np.full(len(rows), np.inf, np.float32)

    def add(place: int) -> None:
        squared = norms + norms[place] - 2 * (points @ points[place])
        np.minimum(nearest, np.maximum(squared, 0), out=nearest)
        nearest[place] = -1

    for row in view.labelled_rows:
        add(int(row))
    picked: list[int] = []
    if not view.labelled_rows.size:
        picked.append(int(np.random.default_rng(seed).integers(len(rows))))
        add(picked[0])
    while len(picked) < budget:
        left = nearest >= 0
        if left.sum() < 0.9 * len(rows):
            rows, points, norms, nearest = rows[left], points[left], norms[left], nearest[left]
        place = int(np.argmax(nearest >= max(nearest.max() - EQUAL, 0)))
        picked.append(int(rows[place]))
        add(place)
    return view.sample_id[picked]
