"""initial x later strategies x trials -> runs/<run>/cycles: curves of active learning from the first query on."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.arguments import check_taken_as_it_is, run_job
from pipeline.config import this_run
from pipeline.evaluate.files import FAILED
from pipeline.progress import counted
from pipeline.run import Run
from pipeline.stages.cycles import TABLE, cycles


def cycles_job(run: Run) -> None:
    """After ``hacon select``, or its first three stages, on a pool with labels and a test split.

    Exit code 1 if a trial failed, so that a scheduler notices. The results of the others are kept.
    """
    check_taken_as_it_is(run)
    found = cycles(run)
    run.save_group("cycles")
    failures = f"\n  {len(found.failed)} failed  {run.store.show(f'{found.folder}/{FAILED}')}" if found.failed else ""
    print(
        f"\n{counted(found.trials, 'curve')}\n"
        f"  the tables  {run.store.show(found.folder)}/curves.md, correlation.md\n"
        f"  every curve {run.store.show(f'{found.folder}/{TABLE}')}{failures}\n"
        f"Next:\n  hacon report --paper {this_run(run.config)}"
    )
    if found.failed:
        sys.exit(1)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("cycles", cycles_job, argv)


if __name__ == "__main__":
    sys.exit(main())
