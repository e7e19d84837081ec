"""THE MAIN JOB: from a pool of images to a ranked query and the page that explains it.

What it does is ``pipeline/stages/select.py``. Also: ``hacon select``, and
``ray job submit --working-dir . -- python -m jobs.select ...``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.arguments import run_job
from pipeline.progress import counted
from pipeline.run import Run, next_command
from pipeline.select import strategy
from pipeline.stages.select import select


def select_job(run: Run) -> None:
    """Run all stages, then print where the results are and the next command."""
    done, config, show = select(run), run.config, run.store.show
    goes_on = strategy(done.queried.order).nests
    words = "To go on labelling where this query ends:" if goes_on else "For a query of twice the size, chosen anew:"
    print(
        f"\n{config.query.budget} of {counted(done.pool.size, 'image')} to label first:\n"
        f"  the query     {show(done.queried.query_file)}\n"
        f"  Label Studio  {show(done.queried.tasks_file)}\n"
        f"  the report    {show(done.reported.page_file)}\n"
        f"{words}\n  {next_command(config, done.pool.size, done.clustered.k)}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("select", select_job, argv)


if __name__ == "__main__":
    sys.exit(main())
