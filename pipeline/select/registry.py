"""Every strategy by its name, with what it needs to know. A new one is a file and a line here."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.artifacts import Int64
from pipeline.errors import InputError
from pipeline.select import ambiguous, closest_to_centroid, easy_to_contrast, hard_to_contrast, random_order
from pipeline.select.pool_view import PoolView


@dataclass(frozen=True)
class Strategy:
    """An order of the pool. ``pick`` sees the view's rows in ``sample_id`` order; call ``order``."""

    name: str
    pick: Callable[[PoolView, int], Int64]
    needs: tuple[str, ...] = ()
    """The columns of ``PoolView`` without which it cannot run."""
    nests: bool = True
    """Whether a larger budget continues a smaller one on the same clusters and confidences."""

    @property
    def needs_clusters(self) -> bool:
        """Whether it runs on clusters."""
        return "cluster" in self.needs

    @property
    def needs_confidence(self) -> bool:
        """Whether it runs on a confidence table (confidence or variability)."""
        return "confidence" in self.needs or "variability" in self.needs

    def order(self, view: PoolView, seed: int) -> Int64:
        """(N,) all sample ids of ``view``, first = label first; the order of its rows does not matter.

        Raises:
            ValueError: the view lacks a column that the strategy needs.
        """
        missing = [column for column in self.needs if getattr(view, column) is None]
        if missing:
            raise ValueError(f"{self.name} needs {' and '.join(missing)}, which this view lacks")
        ids = self.pick(view.by_sample_id(), seed)
        assert np.array_equal(np.sort(ids), np.sort(view.sample_id)), f"{self.name} lost or repeated samples"
        return ids


STRATEGIES: dict[str, Strategy] = {
    each.name: each
    for each in (
        Strategy("hard-to-contrast", hard_to_contrast.order, needs=("cluster", "confidence")),
        Strategy("easy-to-contrast", easy_to_contrast.order, needs=("cluster", "confidence")),
        Strategy("ambiguous", ambiguous.order, needs=("cluster", "variability")),
        Strategy("closest-to-centroid", closest_to_centroid.order, needs=("cluster", "distance")),
        Strategy("random", random_order.order),
    )
}


def strategy(name: str) -> Strategy:
    """The strategy called ``name``.

    Raises:
        InputError: there is none of that name; names the closest.
    """
    if name not in STRATEGIES:
        close = difflib.get_close_matches(name, STRATEGIES, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"choose one of {', '.join(STRATEGIES)}."
        raise InputError(f"There is no order '{name}'; {hint}")
    return STRATEGIES[name]
