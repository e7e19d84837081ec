"""clusters + confidence (or features) -> runs/<run>/query: the order in which to label."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.arguments import run_job
from pipeline.config import this_run
from pipeline.plan import compared_of, trained_of
from pipeline.progress import counted
from pipeline.publish import required
from pipeline.results import Clustered
from pipeline.run import Run
from pipeline.stages.ingest import ingested
from pipeline.stages.query import check_query, query


def query_job(run: Run) -> None:
    """One stage of ``jobs.select``."""
    check_query(run.config)
    stages = trained_of(run), compared_of(run), required(run, Clustered)
    queried = query(run, ingested(run), *stages)
    run.save()
    print(
        f"\n{counted(queried.budget, 'image')} to label first, {queried.order}\n"
        f"  {run.store.show(queried.query_file)}\nNext:\n  hacon report {this_run(run.config)}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("query", query_job, argv)


if __name__ == "__main__":
    sys.exit(main())
