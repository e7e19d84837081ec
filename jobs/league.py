"""the benchmarks of several runs -> league/: who beats chance, features x strategies, as a page, a table and a CSV."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from jobs.upkeep import run_upkeep
from pipeline.stages.league import league
from pipeline.storage import Location


def league_job(arguments: argparse.Namespace, store: Location) -> None:
    """After ``hacon benchmark --set benchmark.share=0.5`` of each run."""
    folder = league(store, [name.strip() for name in arguments.runs.split(",") if name.strip()])
    print(
        f"\nWho beats chance\n  the page   {store.show(f'{folder}/league.html')}\n"
        f"  as a table {store.show(f'{folder}/league.md')}\n  every cell {store.show(f'{folder}/league.csv')}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_upkeep("league", league_job, argv)


if __name__ == "__main__":
    sys.exit(main())
