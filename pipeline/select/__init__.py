"""Orders in which to label a pool. They see numbers of images only: no labels, images or files.

``strategy(name)`` finds a strategy by its name. ``Strategy.query(view, budget, seed)`` gives the sample ids to label,
first = label first. Where a strategy nests, its query of B is the first B of any larger one, and ``Strategy.order`` is
the whole pool. The strategies are in ``by_cluster``, ``by_score`` and ``by_features``.
"""

from pipeline.select import by_cluster, by_score, by_features  # noqa: F401, I001  (registers them, in this order)
from pipeline.select.pool_view import PoolView
from pipeline.select.registry import STRATEGIES, Strategy, find, register, strategy

__all__ = ["STRATEGIES", "PoolView", "Strategy", "find", "register", "strategy"]
