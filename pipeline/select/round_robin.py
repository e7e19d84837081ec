"""Equal numbers from each cluster (Algorithm 1 of the paper), as an order of which every prefix is a query.

The clusters take turns, always in the same seeded order. Each gives its first remaining sample, and a cluster that has
none left is skipped. Source: the authors' code (docs/method.md, decision 8).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

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
        rank_key: (N,) inside a cluster the lowest comes first; of equals, the lower id; NaN last.
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
        rank_key: (N,) inside a cluster the lowest comes first; of equals, the earlier row; NaN last.
        cluster_order: (K,) the clusters in the order of their turns, each once.
        had: (K,) turns that each cluster has had before; it waits until the others have had as many.
    """
    turn = np.argsort(cluster_order)
    best_first = np.argsort(rank_key, kind="stable")
    # To turn a sparse matrix from columns to rows, or back, is to sort by a small whole number in linear time:
    # first (turn, rank) with a sample in every column, then (turn, round).
    columns = (best_first, turn[cluster[best_first]], np.arange(len(cluster) + 1))
    ranked = csc_array(columns, shape=(len(turn), len(cluster))).tocsr()
    sizes = np.diff(ranked.indptr)
    rounds = np.arange(len(cluster)) - np.repeat(ranked.indptr[:-1], sizes)
    if had is not None:
        rounds += np.repeat(had[cluster_order], sizes)
    turns = csr_array((ranked.data, rounds, ranked.indptr), shape=(len(turn), int(rounds.max(initial=-1)) + 1))
    return np.asarray(turns.tocsc().data)
