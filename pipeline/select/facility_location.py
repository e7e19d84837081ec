"""Greedy facility location: let every sample have a similar one among the labelled. Budgets nest by construction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.artifacts import Float32, Int64
from pipeline.cluster.assignment import in_order
from pipeline.progress import tell
from pipeline.select.pool_view import PoolView
from pipeline.select.squared_distances import BLOCK_ROWS, LANDMARKS, blocks, landmarks, squared_distances

HELD_BYTES = 1 << 30
"""Similarities between candidates and landmarks are kept up to this size; larger ones are computed when needed."""
EQUAL = 1e-5
"""Gains that differ by less than this share are equal: those of two samples that cover only each other, for one."""
_CACHED = 1 << 19
"""Similarities that are worked on at once on a core: they stay in its cache."""
AT_ONCE = 32
"""Candidates looked at again together: one product instead of many."""


def facility_location(
    view: PoolView,
    budget: int,
    seed: int,
    similarity: Callable[[Float32], Float32],
    weights: Float32 | None = None,
) -> Int64:
    """Greedy: the sample that most raises the pool's mean of max over s in S of similarity(x, s).

    S are the labelled and the picked. The mean is over the whole pool. Above 20,000 samples it is over 20,000 landmarks
    drawn by the seed, so nothing grows as N x N. Time is that of a few products of all candidates with all landmarks:
    100,000 samples take minutes on one core. Of equals the lower id.

    Args:
        similarity: squared distances, which it may overwrite -> similarities, 0 or more.
        weights: (N,) how much each sample x counts in the mean; none: all alike.
    """
    assert view.features is not None
    features = view.features
    drawn = landmarks(len(features), seed, LANDMARKS)
    points = features[drawn]
    rows = view.unlabelled_rows

    def similar(chosen: Int64) -> Float32:
        found = similarity(squared_distances(features[chosen], points))
        return found if weights is None else np.multiply(found, weights[drawn], out=found)

    covered = np.zeros(len(points), np.float32)
    for block in blocks(len(view.labelled_rows)):
        np.maximum(covered, similar(view.labelled_rows[block]).max(axis=0), out=covered)
    return view.sample_id[rows[lazy_greedy(lambda places: similar(rows[places]), len(rows), covered, budget)]]


def lazy_greedy(similar: Callable[[Int64], Float32], n: int, covered: Float32, budget: int) -> Int64:
    """(budget,) places of the candidates that raise the sum of ``covered`` most, one after the other.

    A gain never rises, so an earlier gain bounds the present one. Only candidates with the highest bound are looked at
    again (Minoux 1978), and the picks are those of looking at all. Of equals the lower place.

    Args:
        similar: places (m,) -> (m, L) similarities of these candidates to the landmarks.
        n: number of candidates, whose places are 0 .. n-1.
        covered: (L,) highest similarity to what is labelled.
    """
    covered = covered.copy()
    gain = np.empty(n, np.float32)
    held = np.empty((n, len(covered)), np.float32) if 4 * n * len(covered) <= HELD_BYTES else None
    first = [*blocks(n, rows=max(1, _CACHED // max(1, len(covered))))]
    steps = -(-n // BLOCK_ROWS) + budget  # some candidates count as a pick

    def first_gains(block: slice) -> int:
        found = similar(np.arange(block.start, block.stop))
        if held is not None:
            held[block] = found
        gain[block] = _gains(found, covered)
        return block.stop

    # Each block fills its own rows, so the number of cores changes nothing.
    for stop in in_order(first_gains, first):
        tell(stop // BLOCK_ROWS, steps)
    rows_of = similar if held is None else held.__getitem__
    looked_at = np.zeros(n, np.int64)  # how many picks the gain knows of
    picked: list[int] = []
    while len(picked) < budget:
        best = int(gain.argmax())
        if looked_at[best] == len(picked):
            best = int(np.argmax(gain >= gain[best] * (1 - EQUAL)))
        if looked_at[best] < len(picked):
            highest = np.argpartition(gain, -min(AT_ONCE, n))[-AT_ONCE:]  # the best is not always one of many equals
            doubtful = np.append(highest[looked_at[highest] < len(picked)], best)
            gain[doubtful] = _gains(rows_of(doubtful), covered)
            looked_at[doubtful] = len(picked)
            continue
        picked.append(best)
        np.maximum(covered, rows_of(np.array([best]))[0], out=covered)
        gain[best], looked_at[best] = -1, n
        tell(-(-n // BLOCK_ROWS) + len(picked), steps)
    return np.array(picked)


def _gains(similar: Float32, covered: Float32) -> Float32:
    """(m,) by how much each row of ``similar`` (m, L) would raise the sum of ``covered`` (L,)."""
    raised = np.subtract(similar, covered)
    return np.asarray(np.maximum(raised, 0, out=raised).sum(axis=1))
