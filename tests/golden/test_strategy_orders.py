"""The order of every strategy on one small pool, as commit 1a184be gave it.

``strategies/pool.json`` is what goes in, ``strategies/orders.json`` what came out. The inputs are such that no
processor's rounding changes an order (``make_pool``).
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.select import STRATEGIES
from tests.golden.golden_pool import FOLDER, labelled_of, orders_of, pool_view

ORDERS = json.loads((FOLDER / "orders.json").read_text())


@pytest.mark.parametrize("name", ORDERS)
def test_the_order_is_the_recorded_one(name: str) -> None:
    assert orders_of(STRATEGIES[name], pool_view(), labelled_of()) == ORDERS[name]


def test_every_strategy_has_its_orders() -> None:
    """A new one gets its line by ``python -m tests.golden.make_pool --orders``, which leaves the others alone."""
    ours = [name for name, each in STRATEGIES.items() if each.pick.__module__.startswith("pipeline.")]
    assert list(ORDERS) == ours


def test_features_are_of_unit_norm_without_rounding() -> None:
    features = pool_view().features
    assert features is not None
    assert ((features.astype(np.float64) ** 2).sum(axis=1) == 1).all()
