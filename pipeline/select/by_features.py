"""Strategies by distances between features: coverage of the pool, and the middle of as many clusters as are wanted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Float32, Float64, Int64
from pipeline.cluster.around_fixed import kmeans_around
from pipeline.progress import tell
from pipeline.select.ball_cover import ball_cover
from pipeline.select.by_cluster import hardness
from pipeline.select.facility_location import facility_location
from pipeline.select.fresh_clusters import fresh_clusters, largest_first
from pipeline.select.pool_view import PoolView
from pipeline.select.registry import register
from pipeline.select.round_robin import in_turns
from pipeline.select.squared_distances import squared_distances

EQUAL = 1e-6
"""Coreset takes squared distances that differ by less as equal: float32 may not distinguish them."""
FARTHEST = 2.0
"""The largest distance between two features of unit norm."""
_ROUNDING = 1e-6
"""Of squared distances in float32."""
NEIGHBOURS, SMALLEST = 20, 5
"""TypiClust's: neighbours that make an image typical, and the size of a cluster that counts."""
LENGTH_SCALE = 1.0
"""MaxHerding's, for features of unit norm."""


@register(
    "coreset",
    family="published",
    needs=("features",),
    nests=True,
    paper="Sener & Savarese, ICLR 2018",
    words="each is the image farthest from all before it",
    why="No image of the pool stays far from a chosen one (k-centre greedy). Outliers come early.",
)
def coreset(view: PoolView, budget: int, seed: int) -> Int64:
    """k-centre greedy: always the sample farthest from all that are labelled or picked; of equals, the lower id.

    It starts from the labelled samples. Where there are none, the seed draws the first. Time is O(picks x N x D).
    Memory is O(N) beside the features, and a copy of the unpicked once a tenth of the pool is picked.
    Source: the greedy of Sener & Savarese, "Active learning for convolutional neural networks: a core-set approach"
    (ICLR 2018).
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
        tell(len(picked), budget)
    return view.sample_id[picked]


@register(
    "k-medoids",
    family="low budget",
    needs=("features",),
    paper="K-means, K = budget",
    words="the images were sorted into as many clusters as there are to choose, and the middle one of each was taken",
    why="The image in the middle of a cluster is taken as typical of it.",
)
def k_medoids(view: PoolView, budget: int, seed: int) -> Int64:
    """The sample nearest to the centroid of each of K clusters, K = budget; the largest cluster first.

    Labelled samples have clusters of their own (K = labelled + budget), and clusters with fewer of them come first.
    Above 500, clusters take further turns, each with its next nearest sample.
    Source: a common baseline at low budgets; docs/method.md, section 7.
    """
    found = fresh_clusters(view, budget, seed)
    return in_turns(view, found.labels, found.distance, largest_first(np.bincount(found.labels)), budget)


@register(
    "continue-medoids",
    family="low budget",
    needs=("features",),
    paper="K-means beside what is labelled",
    words="the images far from labelled ones were sorted into as many clusters as there are to choose, and the "
    "middle one of each was taken",
    why="What is labelled stands for its surroundings; a new image is the middle of a group that nothing stands for.",
)
def continue_medoids(view: PoolView, budget: int, seed: int) -> Int64:
    """The sample nearest to each of ``budget`` new centroids, of K-means beside labelled samples that do not move.

    The largest cluster comes first. Batch by batch it goes on with what is there: a query of B, labelled, and then one
    of B more cover the pool about as well as one of 2 B. Empty clusters leave the farthest sample from all before.
    Source: ``kmeans_around``; docs/method.md, section 7.
    """
    assert view.features is not None
    labelled, points = view.labelled_rows, view.features
    centroids, label = kmeans_around(points, points[labelled], budget, seed)
    free = np.ones(len(points), bool)
    free[labelled] = False
    picked: list[int] = []
    for number in largest_first(np.bincount(label[free], minlength=len(labelled) + budget)[len(labelled) :]):
        rows = np.flatnonzero((label == len(labelled) + number) & free)
        if len(rows):
            apart = squared_distances(points[rows], centroids[number : number + 1])[:, 0]
            picked.append(int(rows[apart.argmin()]))
            free[picked[-1]] = False
    while len(picked) < budget:  # fewer distinct samples than centroids
        taken = np.append(labelled, picked).astype(np.int64)
        nearest = squared_distances(points, points[taken]).min(axis=1) if len(taken) else np.zeros(len(points))
        picked.append(int(np.where(free, nearest, -1).argmax()))
        free[picked[-1]] = False
    return view.sample_id[picked]


@register(
    "greedy-medoids",
    family="low budget",
    needs=("features",),
    nests=True,
    paper="PAM's BUILD, Kaufman & Rousseeuw 1990",
    words="each lowers most how far the pool's images are from the nearest chosen one",
    why="An image stands for those around it; the first ones for the largest groups (greedy medoids).",
)
def greedy_medoids(view: PoolView, budget: int, seed: int) -> Int64:
    """Each pick lowers the sum of distances to the nearest pick the most: ``facility_location`` by 2 - |x - s|.

    It is K-medoids whose larger budget continues a smaller one, and has no kernel width to choose. docs/results.md
    compares it with the others.
    Source: the BUILD phase of PAM (Kaufman & Rousseeuw, "Finding groups in data", 1990), with the labelled samples as
    the medoids that are there; docs/method.md, section 7.
    """
    return facility_location(view, budget, seed, _nearness)


@register(
    "hard-medoids",
    family="low budget",
    needs=("features", "cluster", "confidence"),
    nests=True,
    paper="PAM's BUILD, weighted by HaCon's",
    words="each lowers most how far the images that are hard to tell apart are from the nearest chosen one",
    why="An image stands for those around it, and these count the more, the harder training found them: the hard say "
    "where to label, and what lies in their middle is labelled (greedy medoids, weighted).",
)
def hard_medoids(view: PoolView, budget: int, seed: int) -> Int64:
    """Greedy medoids of a pool in which each sample counts by its hardness, from 1, its cluster's hardest, to 0.

    The hardest themselves lie between groups and make poor labels (docs/dev/moco-orders.md). A sample in their middle
    is near many of them, so hardness says where to label.
    Source: the objective of PAM (Kaufman & Rousseeuw 1990), weighted by the rank of the paper's confidence (Eq. 3)
    inside its clusters; docs/method.md, section 7.
    """
    return facility_location(view, budget, seed, _nearness, hardness(view))


def _nearness(squared: Float32) -> Float32:
    """2 - d of squared distances between features of unit norm, which it overwrites."""
    # That of a sample to itself is nothing; its root would be a thousand times as large.
    np.multiply(squared, squared >= _ROUNDING, out=squared)
    np.sqrt(squared, out=squared)
    return np.subtract(np.float32(FARTHEST), squared, out=squared)


@register(
    "typiclust",
    family="low budget",
    needs=("features",),
    paper="Hacohen et al., ICML 2022",
    words="the images were sorted into as many clusters as there are to choose, "
    "and the one in the densest place of each was taken",
    why="An image whose neighbours are near is taken as typical of its cluster (TypiClust).",
)
def typiclust(view: PoolView, budget: int, seed: int) -> Int64:
    """The most typical sample of each of K clusters, K = labelled + budget (at most 500).

    Clusters with the fewest labelled or picked samples come first, the largest of them before the others. Those of
    fewer than 5 samples come when the rest is used up. Typicality is the inverse of the mean distance to the 20 nearest
    in the cluster (all, where there are fewer). Time grows with the sum of the squared sizes of the clusters.
    Where the authors' code departs from their paper, this follows the paper. Their code takes squared distances, half
    of a small cluster and none of five, and looks for neighbours only among samples not yet labelled or picked.
    Source: TPC_RP of Hacohen, Dekel & Weinshall, "Active learning on a budget" (ICML 2022); docs/method.md, section 7.
    """
    assert view.features is not None
    found = fresh_clusters(view, budget, seed)
    sizes = np.bincount(found.labels)
    key = mean_distances(view.features, found.labels)
    return in_turns(view, found.labels, key, largest_first(sizes), budget, last=sizes < SMALLEST)


def mean_distances(features: Float32, cluster: NDArray[np.integer[Any]]) -> Float64:
    """(N,) mean distance to the ``NEIGHBOURS`` nearest in the own cluster; 0 where there is no other."""
    from sklearn.neighbors import NearestNeighbors  # a second to load

    found = np.zeros(len(features))
    by_cluster = np.argsort(cluster, kind="stable")
    clusters = np.split(by_cluster, np.cumsum(np.bincount(cluster))[:-1])
    for number, rows in enumerate(clusters, 1):
        if len(rows) > 1:
            search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(rows) - 1), algorithm="brute")
            found[rows] = search.fit(features[rows]).kneighbors()[0].mean(axis=1)
        tell(number, len(clusters))
    return found


@register(
    "probcover",
    family="low budget",
    needs=("features",),
    nests=True,
    paper="Yehuda et al., NeurIPS 2022",
    words="each has the most look-alikes that none before it has",
    why="An image stands for all within a fixed distance of it; together they stand for as many as can be (ProbCover).",
)
def probcover(view: PoolView, budget: int, seed: int) -> Int64:
    """The sample whose ball, of one radius for all, holds most that no ball of the labelled and picked holds.

    Source: ``ball_cover``; Yehuda, Dekel, Hacohen & Weinshall, "Active learning through a covering lens" (NeurIPS
    2022); not in the paper.
    """
    return ball_cover(view, budget, seed)


@register(
    "maxherding",
    family="low budget",
    needs=("features",),
    nests=True,
    paper="Bae et al., ECCV 2024",
    words="each raises most how similar the pool's images are to the nearest chosen one",
    why="An image stands for others the more, the more similar they are; together they stand for as much as can be "
    "(MaxHerding).",
)
def maxherding(view: PoolView, budget: int, seed: int) -> Int64:
    """Each pick raises most the pool's similarity to the nearest pick: ``facility_location`` by exp(-|x - s|^2 / l^2).

    Source: Bae, Noh & Sutherland, "Generalized coverage for more robust low-budget active learning" (ECCV 2024), with
    their kernel; docs/method.md, section 7.
    """
    return facility_location(view, budget, seed, _kernel)


def _kernel(squared: Float32) -> Float32:
    squared /= -(LENGTH_SCALE**2)
    return np.exp(squared, out=squared)
