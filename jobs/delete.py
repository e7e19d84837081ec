"""one run -> nothing: its files, and a pool that no other run uses. What other runs build on stays."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from jobs.upkeep import run_upkeep, size_in_words
from pipeline.errors import InputError
from pipeline.progress import counted
from pipeline.runs import removal_of, remove
from pipeline.storage import Location


def delete(arguments: argparse.Namespace, store: Location) -> None:
    """Print what is deleted and what is kept, ask, delete.

    Raises:
        InputError: no such run; nobody to ask.
    """
    removal = removal_of(store, arguments.run)
    print(f"Run '{removal.run}' on '{store.show()}': {counted(removal.files, 'file')}, {size_in_words(removal.bytes)}")
    for folder in removal.folders:
        print(f"  goes   {store.show(folder)}")
    for folder, runs in removal.kept.items():
        print(f"  stays  {store.show(folder)}: {', '.join(runs)} {'builds' if len(runs) == 1 else 'build'} on it")
    if not arguments.yes and not _agreed():
        print("Nothing was deleted.")
        return
    remove(store, removal)
    print("Deleted.")


def _agreed() -> bool:
    if not sys.stdin.isatty():
        raise InputError("there is nobody to ask whether to delete; say so with --yes.")
    return input("Delete? [y/N] ").strip().lower() in ("y", "yes")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_upkeep("delete", delete, argv)


if __name__ == "__main__":
    sys.exit(main())
