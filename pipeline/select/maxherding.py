"""Let every sample have a similar one among the labelled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.artifacts import Float32, Int64
from pipeline.select.pool_view import PoolView
from pipeline.select.squared_distances import LANDMARKS, blocks, landmarks, squared_distances

LENGTH_SCALE = 1.0
"""The paper's, for features of unit norm."""
HELD_BYTES = 1 << 30
"""Kernels between candidates and landmarks are kept up to this size, and computed anew where needed beyond."""
EQUAL = 1e-5
"""Gains that differ by less than this share are equal: two samples that cover each other alone differ by rounding."""
AT_ONCE = 32
"""Candidates looked at again together: one product instead of many."""


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """Greedy: the sample that most raises the pool's mean of max over s in S of exp(-|x - s|^2 / l^2).

    S are the labelled and the picked. The mean is over the whole pool, above 20,000 samples over 20,000 landmarks drawn
    by the seed: nothing grows as N x N. Time is that of a few products of all candidates with all landmarks; 100,000
    samples take minutes on one core. Of equals the lower id.
    Source: Bae, Noh & Sutherland, "Generalized coverage for more robust low-budget active learning" (ECCV 2024), with
    their kernel; SCIENCE.md section 7.
    """
    assert view.features is not None
    features = view.features
    points = features[landmarks(len(features), seed, LANDMARKS)]
    rows = view.unlabelled_rows

    def kernels(chosen: Int64) -> Float32:
        squared = squared_distances(features[chosen], points)
        squared /= -(LENGTH_SCALE**2)
        return np.exp(squared, out=squared)

    covered = np.zeros(len(points), np.float32)
    for block in blocks(len(view.labelled_rows)):
        np.maximum(covered, kernels(view.labelled_rows[block]).max(axis=0), out=covered)
    return view.sample_id[rows[lazy_greedy(lambda places: kernels(rows[places]), len(rows), covered, budget)]]


def lazy_greedy(kernels: Callable[[Int64], Float32], n: int, covered: Float32, budget: int) -> Int64:
    """(budget,) places of the candidates that raise the sum of ``covered`` most, one after the other.

    A gain only ever falls, so a gain of earlier is a bound on today's, and only candidates whose bound is the highest
    are looked at again (Minoux 1978): the same picks as by looking at all. Of equals the lower place.

    Args:
        kernels: places (m,) -> (m, L) kernels of these candidates with the landmarks.
        n: number of candidates, whose places are 0 .. n-1.
        covered: (L,) highest kernel with what is labelled.
    """
    covered = covered.copy()
    gain = np.empty(n, np.float32)
    held = np.empty((n, len(covered)), np.float32) if 4 * n * len(covered) <= HELD_BYTES else None
    for block in blocks(n):
        found = kernels(np.arange(block.start, block.stop))
        gain[block] = np.maximum(found - covered, 0).sum(axis=1)
        if held is not None:
            held[block] = found
    rows_of = kernels if held is None else held.__getitem__
    looked_at = np.zeros(n, np.int64)  # how many picks the gain knows of
    picked: list[int] = []
    while len(picked) < budget:
        best = int(gain.argmax())
        if looked_at[best] == len(picked):
            best = int(np.argmax(gain >= gain[best] * (1 - EQUAL)))
        if looked_at[best] < len(picked):
            highest = np.argpartition(gain, -min(AT_ONCE, n))[-AT_ONCE:]  # the best is not always one of many equals
            doubtful = np.append(highest[looked_at[highest] < len(picked)], best)
            gain[doubtful] = np.maximum(rows_of(doubtful) - covered, 0).sum(axis=1)
            looked_at[doubtful] = len(picked)
            continue
        picked.append(best)
        np.maximum(covered, rows_of(np.array([best]))[0], out=covered)
        gain[best], looked_at[best] = -1, n
    return np.array(picked)
