"""The densest place of as many clusters as samples are wanted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Float32, Float64, Int64
from pipeline.select.fresh_clusters import fresh_clusters, largest_first
from pipeline.select.pool_view import PoolView
from pipeline.select.round_robin import in_turns

NEIGHBOURS = 20
SMALLEST = 5


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """The most typical sample of each of K clusters, K = labelled + budget (at most 500).

    Clusters with the fewest labelled or picked samples come first, the largest of them before the others; those of
    fewer than 5 samples only when the rest is used up. Typicality is the inverse of the mean distance to the 20 nearest
    (all, where there are fewer) in the cluster. Time grows with the sum of the squared sizes of the clusters.
    Where the authors' code is not the paper it is the paper that counts: their code takes squared distances, half of a
    small cluster and none of five, and looks for neighbours only among what is not yet labelled or picked.
    Source: TPC_RP of Hacohen, Dekel & Weinshall, "Active learning on a budget" (ICML 2022); SCIENCE.md section 7.
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
    for rows in np.split(by_cluster, np.cumsum(np.bincount(cluster))[:-1]):
        if len(rows) > 1:
            search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(rows) - 1), algorithm="brute")
            found[rows] = search.fit(features[rows]).kneighbors()[0].mean(axis=1)
    return found
