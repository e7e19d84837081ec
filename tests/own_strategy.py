"""A strategy from outside, as ``tests.own_strategy:pick``: undecorated, so it gets the features and nothing else."""

from __future__ import annotations

from hacon import PoolView
from pipeline.artifacts import Int64


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """Lowest id first."""
    assert view.features is not None and view.confidence is None
    return view.sample_id[view.unlabelled_rows[:budget]]
