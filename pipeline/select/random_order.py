"""The baseline that cold-start strategies fail to beat."""

from __future__ import annotations

import numpy as np

from pipeline.artifacts import Int64
from pipeline.select.pool_view import PoolView


def pick(view: PoolView, budget: int, seed: int) -> Int64:
    """A seeded permutation of the pool: the plain ``random`` of the paper's Table 6 (SCIENCE.md row 17).

    Of the whole pool, less what is labelled: so that a query goes on where its beginning, labelled, ends.
    """
    rows = np.random.default_rng(seed).permutation(len(view.sample_id))
    if view.labelled is not None:
        rows = rows[~view.labelled[rows]]
    return view.sample_id[rows[:budget]]
