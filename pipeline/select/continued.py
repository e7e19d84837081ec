"""A query that goes on: what was handed out or labelled counts as covered, and what was lost is replaced first."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Float32, Int64
from pipeline.select.groups import capped
from pipeline.select.pool_view import PoolView
from pipeline.select.registry import Strategy


@dataclass(frozen=True)
class Continued:
    """The next images. Shapes: ids, replaces (budget,); planned (P,)."""

    ids: Int64
    """First = label first."""
    replaces: Int64
    """The lost sample in whose place each was chosen; -1: none."""
    planned: Int64
    """What would come after them, as things stand; empty where the order does not nest."""


@dataclass(frozen=True)
class Cap:
    """At most so many of a group. ``group`` (N,): of the view's rows in the order of ids; negative: one of its own."""

    group: NDArray[np.integer]
    at_most: int


def continued(
    strategy: Strategy, view: PoolView, budget: int, seed: int, lost: PoolView, plan: int = 0, cap: Cap | None = None
) -> Continued:
    """Replacements of what was lost, then what the strategy takes next, clusters with the fewest labels first.

    Args:
        view: all samples that can be chosen, and those that count as covered (``labelled``); cluster and features.
        budget: at most as many as are not covered.
        lost: the samples to replace, in the order of their issue; cluster and features.
        plan: how many more to rank.
        cap: on groups. It may leave fewer than ``budget``. What replaces a lost one is not held to it.
    """
    assert view.cluster is not None and view.features is not None
    view = view.by_sample_id()
    covered = np.zeros(len(view.sample_id), bool) if view.labelled is None else view.labelled.copy()
    assert view.cluster is not None and view.features is not None
    ids, replaces = [], []
    for row in range(min(budget, len(lost.sample_id))):
        assert lost.cluster is not None and lost.features is not None
        place = _nearest(view.features, ~covered, view.cluster == lost.cluster[row], lost.features[row])
        covered[place] = True
        ids.append(int(view.sample_id[place]))
        replaces.append(int(lost.sample_id[row]))
    left = budget - len(ids)
    planned = np.empty(0, np.int64)
    if left:
        rest = replace(view, labelled=covered)
        most = min(left + (plan if strategy.nests else 0), int((~covered).sum()))
        if cap is None:
            ranked = strategy.query(rest, most, seed)
        else:
            ranked = capped(strategy, rest, most, seed, cap.group, cap.at_most)
        rows = np.searchsorted(view.sample_id, ranked[:left])
        labels = np.bincount(view.cluster[covered], minlength=view.k)[view.cluster[rows]]
        ids += ranked[:left][np.argsort(labels, kind="stable")].tolist()
        replaces += [-1] * (len(ids) - len(replaces))
        planned = ranked[left:]
    return Continued(np.array(ids, np.int64), np.array(replaces, np.int64), planned)


def _nearest(features: Float32, free: NDArray[np.bool_], same: NDArray[np.bool_], to: Float32) -> int:
    """The row nearest to ``to`` of those that are free: of the same cluster, else of any."""
    rows = np.flatnonzero(free & same)
    if not len(rows):
        rows = np.flatnonzero(free)
    return int(rows[((features[rows] - to) ** 2).sum(axis=1).argmin()])


def churn(planned: Int64, chosen: Int64, free: Int64) -> float | None:
    """Share of the ``planned`` that could still be chosen (``free``) and of the first as many chosen were not.

    None: nothing was planned that could still be chosen.
    """
    first = planned[: len(chosen)]
    still = first[np.isin(first, free)]
    return None if not len(still) else float((~np.isin(still, chosen)).mean())
