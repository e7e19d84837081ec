"""Whether an archive has changed so much that its clusters, or its features, no longer fit. Without labels.

Reference = the images that the clusters were made of; new = those that came since. n0, n1 = how many; K = clusters,
D = dimensions. Source of the test: Schilling, "Multivariate two-sample tests based on nearest neighbors" (JASA 1986),
by permutation. A new kind of image has neighbours that are new, too. It is hardly farther from old centroids than
others are: distances tell of it too late (docs/method.md, section 8).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from pipeline.artifacts import Float32, Int64
from pipeline.config import DriftConfig
from pipeline.progress import counted

ASSIGN, RECLUSTER, CONTINUE, ANEW = "assign", "re-cluster", "continue training", "train anew"
VERDICTS = (ASSIGN, RECLUSTER, CONTINUE, ANEW)
"""From the least to the most: what should be done before new images are trusted to the old clusters."""
PERCENTILE = 99.0
PERMUTATIONS = 999
NEIGHBOURS = 10
NEW_SAMPLE, REFERENCE_SAMPLE = 500, 2000
"""Most images of each side in the two-sample test."""
_CROWD = 1e-3
"""An image is in a group of its own where chance would give it so many new neighbours less often than this."""
_FEWEST_ALONE = 3


@dataclass(frozen=True)
class Side:
    """One side of the comparison. Shapes: features (m, D); cluster, distance (n,)."""

    features: Float32
    """As the encoder makes them, of a sample: in a space that was fitted to the reference, new images would differ."""
    cluster: NDArray[np.int32]
    distance: Float32
    """To the cluster's centroid."""


@dataclass(frozen=True)
class Verdict:
    """What the numbers say, and the numbers."""

    name: str
    """One of ``VERDICTS``."""
    words: str
    """A sentence."""
    new: int
    reference: int
    alone: float | None = None
    """Share of the new in groups of their own; .001 by chance."""
    outside: float | None = None
    """Share of the new that lie farther out than 99% of the reference; .01 by chance. For information."""
    shares: float | None = None
    """Total variation between the clusters' shares, 0 to 1."""
    p: float | None = None
    """Of the two-sample test."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def verdict(reference: Side, new: Side, limits: DriftConfig, *, trained: bool, seed: int) -> Verdict:
    """Judge the images that came since the clusters were made.

    Args:
        trained: whether the run has trained its encoder, so that training can go on. Such an encoder has seen the
            reference and not the new images, so the test alone says little: shares of clusters count only without.
        seed: of the permutations.
    """
    n0, n1 = len(reference.cluster), len(new.cluster)
    if n1 < limits.least:
        return Verdict(ASSIGN, f"{ASSIGN}: {counted(n1, 'new image')}, too few to tell of a change", n1, n0)
    own = own_distances(reference.distance, reference.cluster)
    finite = own[np.isfinite(own)]
    outside = float((new.distance > np.percentile(finite, PERCENTILE)).mean()) if len(finite) else 0.0
    k = int(max(reference.cluster.max(), new.cluster.max())) + 1
    old_shares, new_shares = (np.bincount(each.cluster, minlength=k) / len(each.cluster) for each in (reference, new))
    shares = float(np.abs(old_shares - new_shares).sum() / 2)
    p, alone = two_sample(reference.features, new.features, seed)
    name = _name(limits, p, alone if alone * len(new.features) >= _FEWEST_ALONE else 0.0, shares, trained)
    differ = "differ from" if p <= limits.significance else "do not differ from"
    words = (
        f"{name}: {counted(n1, 'new image')} {differ} the first {n0} (p = {p:.3f}); {100 * alone:.0f}% are in groups "
        f"of their own, the clusters' shares moved by {100 * shares:.0f}%, {100 * outside:.0f}% lie farther out than "
        "99% of the first"
    )
    return Verdict(name, words, n1, n0, *(round(each, 4) for each in (alone, outside, shares, p)))


def own_distances(distance: Float32, cluster: NDArray[np.int32]) -> Float32:
    """(n0,) distances of the reference to centroids that each image had no part in.

    A centroid lies nearer to its own images than to others of their kind. Without image x the centroid of n images lies
    n / (n - 1) times as far from x. An image that is alone in its cluster has no such distance: infinite.
    """
    count = np.bincount(cluster, minlength=int(cluster.max(initial=0)) + 1)[cluster].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(count > 1, distance * count / (count - 1), np.inf)
    return found.astype(np.float32)


def two_sample(reference: Float32, new: Float32, seed: int) -> tuple[float, float]:
    """(p-value of equal distributions, share of the new in groups of their own), by nearest neighbours.

    The statistic is how often a neighbour of a new image is new. Samples of both sides are taken.
    Shapes: reference (n0, D), new (n1, D).
    """
    draw = np.random.default_rng(seed)
    sides = [
        side if len(side) <= most else side[draw.choice(len(side), most, replace=False)]
        for side, most in ((new, NEW_SAMPLE), (reference, REFERENCE_SAMPLE))
    ]
    n, total = len(sides[0]), len(sides[0]) + len(sides[1])
    neighbours = nearest_others(np.concatenate(sides), min(NEIGHBOURS, total - 1))
    first = np.zeros(total, bool)
    first[:n] = True
    found = np.array(
        [mark[neighbours[mark]].sum() for mark in (first, *(draw.permutation(first) for _ in range(PERMUTATIONS)))]
    )
    crowd = binom.isf(_CROWD, neighbours.shape[1], (n - 1) / (total - 1))
    alone = float((first[neighbours[:n]].sum(axis=1) > crowd).mean())
    return float((found >= found[0]).mean()), alone


def nearest_others(features: Float32, k: int) -> Int64:
    """(N, k) the rows nearest to each row, without itself."""
    squared = (features**2).sum(axis=1)
    distance = squared[:, None] + squared[None] - 2 * features @ features.T
    np.fill_diagonal(distance, np.inf)
    return np.argpartition(distance, k - 1, axis=1)[:, :k]


def _name(limits: DriftConfig, p: float, alone: float, shares: float, trained: bool) -> str:
    if p > limits.significance:  # what stands out may be chance
        return ASSIGN
    if trained and alone >= limits.foreign:
        return ANEW
    if trained and alone >= limits.doubt:
        return CONTINUE
    if alone >= limits.alone or (shares >= limits.shares and not trained):
        return RECLUSTER
    return ASSIGN
