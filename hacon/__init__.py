"""Which images of an unlabelled pool to label first.

``select`` takes images and trains on them. ``order`` ranks images whose features you have. ``strategies`` lists the
ways to choose, and ``strategy`` is the decorator that adds one of your own: a function of a ``PoolView``.
docs/guide.md and docs/strategies.md describe them.
"""

import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

runpy.run_path(str(Path(__file__).resolve().parents[1] / "pipeline" / "pinned.py"), run_name="pinned")

from hacon.ordering import order, strategies  # noqa: E402
from pipeline import __version__  # noqa: E402
from pipeline.select import PoolView  # noqa: E402
from pipeline.select import register as strategy  # noqa: E402

if TYPE_CHECKING:
    from hacon.selecting import Query, select

__all__ = ["PoolView", "Query", "__version__", "order", "select", "strategies", "strategy"]


def __getattr__(name: str) -> Any:
    """``select`` and ``Query`` when they are asked for: storage takes a second to load, and ``order`` needs none."""
    if name in ("Query", "select"):
        import hacon.selecting

        return getattr(hacon.selecting, name)
    raise AttributeError(f"module 'hacon' has no attribute '{name}'")
