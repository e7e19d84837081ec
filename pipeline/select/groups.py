"""Caps on groups: at most so many images of a patient, a study, a site."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Int64
from pipeline.select.pool_view import PoolView
from pipeline.select.registry import Strategy


def within_cap(ids: Int64, group: NDArray[np.integer], counts: Int64, at_most: int) -> NDArray[np.bool_]:
    """(n,) which of ``ids``, taken in their order, keep every group at ``at_most`` or below.

    Args:
        group: (n,) number of each one's group; negative: a group of its own.
        counts: (G,) how many of each group are labelled or handed out already.
    """
    left = at_most - counts
    kept = np.ones(len(ids), bool)
    for place, number in enumerate(group.tolist()):
        if number >= 0:
            kept[place] = left[number] > 0
            left[number] -= 1
    return kept


def capped(
    strategy: Strategy, view: PoolView, budget: int, seed: int, group: NDArray[np.integer], at_most: int
) -> Int64:
    """The first ``budget`` of the strategy's order that a cap on groups lets through, or as many as there are.

    An image that is left out counts as covered, as its like of the same group is. A strategy that nests is asked for
    more of its order until there are enough; another for a larger query, of which the first are kept.

    Args:
        view: its labelled samples count towards the cap.
        group: (N,) of the view's rows; negative: a group of its own.
    """
    counts = np.bincount(group[view.labelled_rows][group[view.labelled_rows] >= 0], minlength=group.max(initial=-1) + 1)
    by_id = np.argsort(view.sample_id)
    free, asked = len(view.unlabelled_rows), budget
    while True:
        asked = min(asked, free)
        ids = strategy.query(view, asked, seed)
        rows = by_id[np.searchsorted(view.sample_id, ids, sorter=by_id)]
        kept = ids[within_cap(ids, group[rows], counts, at_most)]
        if len(kept) >= budget or asked == free:
            return kept[:budget]
        asked *= 2
