"""Orders in which to label a pool: numpy and scikit-learn, and blind to labels, images and files by construction.

``strategy(name)`` finds a strategy by its name; ``Strategy.query(view, budget, seed)`` gives the sample ids to label,
first = label first. Where a strategy nests, its query of B is the first B of any larger one, and ``Strategy.order``
is the whole pool.
"""

from pipeline.select.pool_view import PoolView
from pipeline.select.registry import STRATEGIES, Strategy, strategy

__all__ = ["STRATEGIES", "PoolView", "Strategy", "strategy"]
