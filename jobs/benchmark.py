"""strategies x uniform x budgets x seeds -> runs/<run>/benchmark: the paper's tables, with its numbers beside ours."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.arguments import check_taken_as_it_is, run_job
from pipeline.config import this_run
from pipeline.evaluate.files import FAILED
from pipeline.progress import counted
from pipeline.run import Run
from pipeline.stages.benchmark import ROWS, benchmark


def benchmark_job(run: Run) -> None:
    """After ``hacon select``, or its first three stages, on a pool with labels and a test split.

    Exit code 1 if a trial failed, so that a scheduler notices. The results of the others are kept.
    """
    check_taken_as_it_is(run)
    found = benchmark(run)
    run.save_group("benchmark")
    failures = f"\n  {len(found.failed)} failed  {run.store.show(f'{found.folder}/{FAILED}')}" if found.failed else ""
    print(
        f"\n{counted(found.trials, 'trial')}\n"
        f"  the tables  {run.store.show(f'{found.folder}')}/auc.md, covered.md, saved.md, pairs.md, ...\n"
        f"  the figures {run.store.show(f'{found.folder}/figures')}\n"
        f"  every trial {run.store.show(f'{found.folder}/{ROWS}')}{failures}\n"
        f"Next:\n  hacon report --paper {this_run(run.config)}"
    )
    if found.failed:
        sys.exit(1)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("benchmark", benchmark_job, argv)


if __name__ == "__main__":
    sys.exit(main())
