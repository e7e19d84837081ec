"""a store -> a line a run: how far it is, when, how many images, how large, who builds on whom, what is next."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from jobs.upkeep import run_upkeep, size_in_words
from pipeline.config import RunConfig, store_flag
from pipeline.runs import list_runs
from pipeline.storage import Location

_COLUMNS = ("run", "state", "last written (UTC)", "images", "query", "size", "builds on", "next")


def runs(arguments: argparse.Namespace, store: Location) -> None:
    """List the runs. The one written last is at the bottom."""
    found = sorted(list_runs(store), key=lambda run: run.when or "")
    if arguments.json:
        print(json.dumps([run.to_dict() for run in found], indent=1, ensure_ascii=False))
        return
    rows = [
        (
            run.run,
            run.state if run.state == "finished" else f"before {run.state}",
            (run.when or "").replace("T", " ").removesuffix("+00:00"),
            "" if run.images is None else str(run.images),
            "" if run.budget is None else f"{run.budget} by {run.order}",
            size_in_words(run.bytes),
            ", ".join(run.builds_on),
            run.next,
        )
        for run in found
    ]
    if not rows:
        flag = store_flag(RunConfig(store=arguments.store))
        print(f"There is no run on '{store.show()}'; first: hacon select --pool SOURCE --budget B{flag}")
        return
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    for row in (_COLUMNS, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_upkeep("runs", runs, argv)


if __name__ == "__main__":
    sys.exit(main())
