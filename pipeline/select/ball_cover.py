"""ProbCover's algorithm: cover as much of the pool as possible with balls of one radius."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pipeline.artifacts import Float32, Int64
from pipeline.errors import InputError
from pipeline.progress import tell
from pipeline.select.fresh_clusters import cluster_features
from pipeline.select.pool_view import PoolView
from pipeline.select.squared_distances import LANDMARKS, blocks, landmarks, squared_distances

PURITY = 0.95
PSEUDO_CLASSES = 10
PURITY_ROWS = 4096
"""The share of pure balls is estimated on this many where the pool has more."""
MOST_EDGES = 100_000_000
"""Pairs of a candidate and what its ball covers that are held: 0.8 GB, there and back."""


def ball_cover(view: PoolView, budget: int, seed: int) -> Int64:
    """Greedy: the sample whose ball (all that is nearer than delta) holds most that no ball of S holds.

    S are the labelled and the picked. Delta is the largest at which 95% of the balls lie in one class each. Clusters of
    a K-means with K = 10 stand for the classes, since the true number, which ProbCover's paper takes, is not known
    here. So delta depends on the pool and the seed, not on the budget. It is found exactly, where the paper tries some
    values. Above 20,000 samples, coverage is counted on 20,000 landmarks drawn by the seed.
    Ties, which are frequent at the end, go to the first in an order drawn by the seed. The order of ids is that of the
    files, which is often that of the classes.
    Source: Yehuda, Dekel, Hacohen & Weinshall, "Active learning through a covering lens" (NeurIPS 2022).

    Raises:
        InputError: the balls hold more than ``MOST_EDGES`` samples together: a large pool of few tight clumps.
    """
    assert view.features is not None
    features = view.features
    classes = cluster_features(features, min(PSEUDO_CLASSES, len(features)), seed).labels
    points = landmarks(len(features), seed, LANDMARKS)
    balls = _balls(features, points, pure_radius_squared(features, classes, seed))
    holders = balls.T.tocsr()
    covers = np.diff(balls.indptr).astype(np.int64)  # landmarks of each ball that no other ball holds yet
    uncovered = np.ones(len(points), bool)

    def add(row: int) -> None:
        ball = balls.indices[balls.indptr[row] : balls.indptr[row + 1]]
        new = ball[uncovered[ball]]
        uncovered[new] = False
        covers[:] -= np.bincount(holders[new].indices, minlength=len(covers))

    for row in view.labelled_rows:
        add(int(row))
    candidates = np.random.default_rng(seed).permutation(len(features))
    if view.labelled is not None:
        candidates = candidates[~view.labelled[candidates]]
    picked = np.empty(budget, np.int64)
    for turn in range(budget):
        picked[turn] = candidates[covers[candidates].argmax()]
        add(int(picked[turn]))
        covers[picked[turn]] = -1
        tell(turn + 1, budget)
    return view.sample_id[picked]


def pure_radius_squared(features: Float32, classes: NDArray[np.integer[Any]], seed: int) -> float:
    """The largest delta^2 at which a share of ``PURITY`` of the open balls holds no sample of another class.

    A ball is pure as long as it does not reach past the nearest sample of another class: so it is a quantile of these
    distances.
    """
    centres = landmarks(len(features), seed, PURITY_ROWS)
    nearest = np.full(len(centres), np.inf, np.float32)
    for block in blocks(len(features)):
        squared = squared_distances(features[block], features[centres])
        squared[classes[block, None] == classes[centres]] = np.inf
        np.minimum(nearest, squared.min(axis=0), out=nearest)
    impure = int((1 - PURITY) * len(centres))
    return float(np.partition(nearest, impure)[impure])


def _balls(features: Float32, points: Int64, radius_squared: float) -> csr_array:
    """(N, L) sparse: which of the landmarks ``points`` (L,) each sample's ball holds."""
    sizes, held, edges = [], [], 0
    for block in blocks(len(features)):
        inside = squared_distances(features[block], features[points]) < radius_squared
        sizes.append(inside.sum(axis=1))
        held.append(np.nonzero(inside)[1].astype(np.int32))
        edges += len(held[-1])
        if edges > MOST_EDGES:
            raise InputError(
                f"The order 'probcover' would have to hold {edges:,} pairs of images after {block.stop:,} of "
                f"{len(features):,} images, and holds {MOST_EDGES:,} at most; take 'maxherding', which covers likewise."
            )
    ends = np.cumsum(np.concatenate(sizes))
    columns = np.concatenate(held)
    return csr_array((np.ones(edges, bool), columns, np.r_[0, ends]), shape=(len(features), len(points)))
