"""Shared by the commands that look after a store. They need few flags, no settings and no Ray."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from jobs.arguments import parser
from jobs.ending import ended
from pipeline.storage import Location, open_source


def run_upkeep(name: str, work: Callable[[argparse.Namespace, Location], None], argv: Sequence[str] | None) -> int:
    """Parse and call ``work``. Returns the exit code of ``ending.ended``."""

    def look() -> None:
        arguments = parser(name).parse_args(argv)
        work(arguments, open_source(arguments.store))

    return ended(f"hacon {name}", look)


def size_in_words(count: int) -> str:
    """Bytes in words, such as "12 kB" or "3.4 MB"."""
    size = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
