"""Which images of an unlabelled pool to label first.

``order`` ranks images whose features you have. ``strategies`` lists the ways to choose, and ``strategy`` is the
decorator that adds one of your own: a function of a ``PoolView``. docs/strategies.md describes them.
"""

from hacon.ordering import order, strategies
from pipeline import __version__
from pipeline.select import PoolView
from pipeline.select import register as strategy

__all__ = ["PoolView", "__version__", "order", "strategies", "strategy"]
