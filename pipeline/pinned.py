"""Our packages are imported from here, whatever else has their names.

``hacon`` and ``jobs`` run this file by its path before they import anything of ours: a working directory may hold a
``pipeline.py`` of its own, and Python would take that one.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OURS = ("hacon", "jobs", "pipeline")


class OursOnly:
    """Finds our packages in ``ROOT`` and nothing else."""

    @staticmethod
    def find_spec(name: str, *_: Any) -> ModuleSpec | None:
        """As ``sys.meta_path`` asks."""
        return PathFinder.find_spec(name, [str(ROOT)]) if name in OURS else None


def pin() -> None:
    """Put the finder in front of all others.

    Raises:
        ImportError: somebody else's module of the same name is imported already.
    """
    for name in OURS:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is not None and Path(file).resolve().parent != ROOT / name:
            raise ImportError(f"hacon has a package '{name}', and '{file}' was imported under that name; rename yours.")
    if all(getattr(finder, "__qualname__", "") != OursOnly.__qualname__ for finder in sys.meta_path):
        sys.meta_path.insert(0, OursOnly)


if __name__ == "pinned":
    pin()
