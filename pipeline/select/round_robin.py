"""Equal numbers from each cluster (Algorithm 1 of the paper), as an order of which every prefix is a query.

Source: the authors' code (SCIENCE.md row 8): the clusters take turns, always in the same seeded
order, each giving its first remaining sample; a cluster that has none left is skipped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Int64
from pipeline.select.pool_view import PoolView


def visiting_order(k: int, seed: int) -> Int64:
    """(k,) the clusters in the order of their turns: a function of ``k`` and ``seed`` alone."""
    return np.random.default_rng(seed).permutation(k)


def in_turns(
    view: PoolView,
    cluster: NDArray[np.integer[Any]],
    rank_key: NDArray[Any],
    cluster_order: Int64,
    budget: int,
    last: NDArray[np.bool_] | None = None,
) -> Int64:
    """(budget,) ids of unlabelled samples in the order of the round robin.

    A labelled sample counts as a turn that its cluster has had: a query goes on where its beginning, labelled, ends.

    Args:
        cluster: (N,) cluster of each row of the view.
        rank_key: (N,) inside a cluster the lowest comes first; of equals, the lower id.
        cluster_order: (K,) the clusters in the order of their turns.
        last: (K,) clusters whose turns come after all turns of the others.
    """
    had = np.bincount(cluster[view.labelled_rows], minlength=len(cluster_order))
    if last is not None:
        had = had + len(cluster) * last
    rows = view.unlabelled_rows
    return view.sample_id[rows[round_robin(cluster[rows], rank_key[rows], cluster_order, had)[:budget]]]


def round_robin(
    cluster: NDArray[np.integer[Any]],
    rank_key: NDArray[Any],
    cluster_order: NDArray[Any],
    had: Int64 | None = None,
) -> Int64:
    """(N,) row numbers in the order of the round robin.

    Args:
        cluster: (N,) cluster of each row.
        rank_key: (N,) inside a cluster the lowest comes first; of equals, the earlier row.
        cluster_order: (K,) the clusters in the order of their turns, each once.
        had: (K,) turns that each cluster has had before; it waits until the others have had as many.
    """
    rows = np.lexsort((rank_key, cluster))  # stable; the last key is the first to sort by
    grouped = cluster[rows]
    first = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]]) if len(rows) else np.empty(0, np.int64)
    sizes = np.diff(np.r_[first, len(rows)])
    round_number = np.arange(len(rows)) - np.repeat(first, sizes)
    if had is not None:
        round_number += had[grouped]
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
