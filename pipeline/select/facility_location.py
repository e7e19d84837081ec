"""Greedy facility location: let every sample have a similar one among the labelled. Budgets nest by construction."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from pipeline.artifacts import Float32, Float64, Int64
from pipeline.cluster.assignment import in_order
from pipeline.progress import tell
from pipeline.select.pool_view import PoolView
from pipeline.select.squared_distances import BLOCK_ROWS, blocks, landmarks, squared_distances

HELD_BYTES = 1 << 30
"""Similarities between candidates and landmarks are kept up to this size; larger ones are computed when needed."""
EQUAL = 1e-5
"""Gains that differ by less than this share are equal: those of two samples that cover only each other, for one."""
_CACHED = 1 << 19
"""Similarities that are worked on at once on a core: they stay in its cache."""
_FEWEST_ROWS = 64
_DRIFT = 1e-6
"""A gain that is less than this share of the first is nothing: what is left may be rounding."""
AT_ONCE = 32
"""Candidates looked at again together before one is picked."""
ALL_UP_TO, LANDMARKS = 20_000, 8_192
"""Up to the first the pool is its own landmarks; a larger one is estimated on so many."""


def facility_location(
    view: PoolView,
    budget: int,
    seed: int,
    similarity: Callable[[Float32], Float32],
    weights: Float32 | None = None,
) -> Int64:
    """Greedy: the sample that most raises the pool's mean of max over s in S of similarity(x, s).

    S are the labelled and the picked. The mean is over the whole pool. Above 20,000 samples it is over 8,192 landmarks
    drawn by the seed, so nothing grows as N x N. Of equals the lower id.

    Args:
        similarity: squared distances, which it may overwrite -> similarities, 0 or more.
        weights: (N,) how much each sample x counts in the mean; none: all alike.
    """
    assert view.features is not None
    features = view.features
    drawn = np.arange(len(features)) if len(features) <= ALL_UP_TO else landmarks(len(features), seed, LANDMARKS)
    points = features[drawn]
    rows = view.unlabelled_rows

    def similar(chosen: Int64, to: Int64 | slice = slice(None)) -> Float32:
        found = similarity(squared_distances(features[chosen], points[to]))
        return found if weights is None else np.multiply(found, weights[drawn[to]], out=found)

    covered = np.zeros(len(points), np.float32)
    for block in blocks(len(view.labelled_rows)):
        np.maximum(covered, similar(view.labelled_rows[block]).max(axis=0), out=covered)
    picked = greedy(lambda places, to: similar(rows[places], to), len(rows), covered, budget)
    return view.sample_id[rows[picked]]


def greedy(similar: Callable[[Int64, Int64 | slice], Float32], n: int, covered: Float32, budget: int) -> Int64:
    """(budget,) places of the candidates that raise the sum of ``covered`` most, one after the other.

    A pick changes gains only by the landmarks that it covers better than all before: of k picks about one in k. So all
    gains are brought up to date for the price of these columns. Sums drift by rounding: the highest gains are looked at
    again before one is picked, so the picks are those of looking at all. Of equals the lower place.

    Args:
        similar: places (m,), landmarks (l,) -> (m, l) similarities of these candidates to these landmarks.
        n: number of candidates, whose places are 0 .. n-1.
        covered: (L,) highest similarity to what is labelled.
    """
    covered, gain = covered.copy(), np.zeros(n)
    everything = slice(None)
    held = np.empty((n, len(covered)), np.float32) if 4 * n * len(covered) <= HELD_BYTES else None
    first = -(-n // BLOCK_ROWS)
    steps = first + budget  # some candidates count as a pick

    def rows_of(block: slice, to: Int64 | slice) -> Float32:
        if held is None or first_pass:
            return similar(np.arange(block.start, block.stop), to)
        return np.asarray(held[block, to])

    def change(block: slice, to: Int64 | slice, before: Float32 | None) -> int:
        found = rows_of(block, to)
        if held is not None and first_pass:
            held[block] = found
        gain[block] += _gains(found, covered[to])
        if before is not None:
            gain[block] -= _gains(found, before)
        return block.stop

    def everywhere(to: Int64 | slice, before: Float32 | None) -> Iterator[int]:
        """Each block changes its own gains, so the number of cores changes nothing."""
        width = len(covered) if isinstance(to, slice) else len(to)
        rows = max(_FEWEST_ROWS, _CACHED // max(1, width))
        return in_order(partial(change, to=to, before=before), blocks(n, rows))

    first_pass = True
    for stop in everywhere(everything, None):
        tell(stop // BLOCK_ROWS, steps)
    first_pass, nothing = False, _DRIFT * max(float(gain.max(initial=0)), 0)
    picked: list[int] = []
    while len(picked) < budget:
        # Of many equals the lowest places are looked at too.
        equal = np.flatnonzero(gain >= gain.max() * (1 - 2 * EQUAL))[:AT_ONCE]
        highest = np.union1d(np.argpartition(gain, -min(AT_ONCE, n))[-AT_ONCE:], equal)
        highest = highest[gain[highest] >= 0]
        found = similar(highest, everything) if held is None else held[highest]
        exact = _gains(found, covered)
        exact[exact < nothing] = 0
        gain[highest] = exact
        place = int(np.argmax(exact >= exact.max() * (1 - EQUAL)))
        picked.append(int(highest[place]))
        gain[highest[place]] = -np.inf
        better = np.flatnonzero(found[place] > covered)
        before = covered[better].copy()
        covered[better] = found[place][better]
        deque(everywhere(better, before), maxlen=0)
        gain[(gain < nothing) & (gain > -np.inf)] = 0
        tell(first + len(picked), steps)
    return np.array(picked)


def _gains(similar: Float32, covered: Float32) -> Float64:
    """(m,) by how much each row of ``similar`` (m, L) would raise the sum of ``covered`` (L,)."""
    raised = np.subtract(similar, covered)
    return np.asarray(np.maximum(raised, 0, out=raised).sum(axis=1, dtype=np.float64))
