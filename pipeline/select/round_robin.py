"""Equal numbers from each cluster (Algorithm 1 of the paper), as an order of which every prefix is a query.

Source: the authors' code (SCIENCE.md row 8): the clusters take turns, always in the same seeded
order, each giving its first remaining sample; a cluster that has none left is skipped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Int64


def visiting_order(k: int, seed: int) -> Int64:
    """(k,) the clusters in the order of their turns: a function of ``k`` and ``seed`` alone."""
    return np.random.default_rng(seed).permutation(k)


def round_robin(cluster: NDArray[np.integer[Any]], rank_key: NDArray[Any], cluster_order: NDArray[Any]) -> Int64:
    """(N,) row numbers in the order of the round robin.

    Args:
        cluster: (N,) cluster of each row.
        rank_key: (N,) inside a cluster the lowest comes first; of equals, the earlier row.
        cluster_order: (K,) the clusters in the order of their turns, each once.
    """
    rows = np.lexsort((rank_key, cluster))  # stable; the last key is the first to sort by
    grouped = cluster[rows]
    first = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]]) if len(rows) else np.empty(0, np.int64)
    sizes = np.diff(np.r_[first, len(rows)])
    round_number = np.arange(len(rows)) - np.repeat(first, sizes)
    turn = np.empty(len(cluster_order), np.int64)
    turn[cluster_order] = np.arange(len(cluster_order))
    return rows[np.lexsort((turn[grouped], round_number))]


def ascending(values: NDArray[np.floating[Any]]) -> Int64:
    """(N,) rank of each value, 0 = lowest; of equals the earlier row ranks lower; NaN ranks last."""
    ranks = np.empty(len(values), np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks


def unknown_last(key: Int64, values: NDArray[np.floating[Any]]) -> Int64:
    """``key`` with the rows whose value is NaN after all others: of an unseen sample nothing is known."""
    return np.where(np.isnan(values), len(values), key)
