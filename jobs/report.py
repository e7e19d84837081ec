"""everything -> runs/<run>/report: one self-contained page; with --paper, one of the paper's tables and figures."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.arguments import run_job
from pipeline.on_ray.session import ray_session
from pipeline.plan import compared_of, trained_of
from pipeline.publish import required
from pipeline.results import Clustered, Queried
from pipeline.run import Run, next_command
from pipeline.stages.ingest import ingested
from pipeline.stages.paper import paper
from pipeline.stages.report import report


def report_job(run: Run) -> None:
    """One stage of ``jobs.select``."""
    trained, embedded = trained_of(run), compared_of(run)
    clustered, queried = required(run, Clustered), required(run, Queried)
    with ray_session(run.log, run.store):
        pool = ingested(run)
        page = report(run, pool, trained, embedded, clustered, queried)
    print(
        f"\nThe report\n  {run.store.show(page.page_file)}\n"
        f"To go on labelling where this query ends:\n  {next_command(run.config, pool.size, clustered.k)}"
    )


def paper_job(run: Run) -> None:
    """``--paper``: the finished stages of a run, its benchmark and its cycles."""
    pool = ingested(run)
    with ray_session(run.log, run.store):
        page = paper(run, pool)
    print(f"\nThe paper's tables and figures\n  {run.store.show(page)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("report", report_job, argv, paper=paper_job)


if __name__ == "__main__":
    sys.exit(main())
