"""Orders in which to label a pool: pure numpy, and blind to labels, images and files by construction.

``strategy(name)`` finds an order by its name; ``Strategy.order(view, seed)`` gives the whole pool's
sample ids, first = label first. A query of budget B is its first B, so budgets nest.
"""

from pipeline.select.pool_view import PoolView
from pipeline.select.registry import STRATEGIES, Strategy, strategy

__all__ = ["STRATEGIES", "PoolView", "Strategy", "strategy"]
