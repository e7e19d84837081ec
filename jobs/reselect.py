"""THE SCHEDULED JOB: what is new in a growing archive, and the next images to label. What it does is
``pipeline/stages/reselect.py``. Also: ``hacon reselect``, and ``ray job submit --working-dir . -- python -m
jobs.reselect ...``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.arguments import check_taken_as_it_is, run_job
from pipeline.config import this_run
from pipeline.progress import counted
from pipeline.run import Run
from pipeline.stages.reselect import reselect


def reselect_job(run: Run) -> None:
    """Look at the archive, then print what came of it and the next command."""
    check_taken_as_it_is(run, "a later query", without=("ingest.source",))
    done, show = reselect(run), run.store.show
    night = done.night
    if night is None:
        print("\nNothing is new and nothing came back: no query.")
        return
    totals = ", ".join(f"{what.replace('_', ' ')} {count}" for what, count in night.totals.items())
    print(f"\nNight {night.number}: {counted(night.held, 'image')} in the archive; of all queries {totals}")
    if not night.issued:
        print("No query: nothing new to choose from.")
        return
    print(
        f"Query {night.query}, {counted(night.issued, 'image')} to label next:\n  {show(night.query_folder)}\n"
        f"When labels come back:\n  hacon labels --from FILE {this_run(run.config)}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("reselect", reselect_job, argv)


if __name__ == "__main__":
    sys.exit(main())
