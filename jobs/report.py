"""everything -> runs/<run>/report: one self-contained page; with --paper, one of the paper's tables and figures."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.arguments import run_job
from pipeline.config import RunConfig
from pipeline.on_ray.session import ray_session
from pipeline.progress import say
from pipeline.publish import required
from pipeline.stages.ingest import ingested
from pipeline.stages.paper import run_paper_report
from pipeline.stages.report import PAGE, next_command, run_report
from pipeline.storage import Location

STAGES = ("pretrain", "embeddings", "clusters", "query")


def report_job(config: RunConfig, store: Location) -> None:
    """One stage of ``jobs.select``."""
    results = {stage: required(config, store, stage) for stage in STAGES}
    with ray_session(say, store):
        pool = ingested(config, store)
        page = run_report(config, store, pool, results, say)
    print(
        f"\nThe report\n  {store.show(page['folder'] + '/' + PAGE)}\n"
        f"To go on labelling where this query ends:\n  {next_command(config, pool, results['clusters'])}"
    )


def paper_job(config: RunConfig, store: Location) -> None:
    """``--paper``: of a run as far as it is, and of its benchmark and cycles."""
    pool = ingested(config, store)
    with ray_session(say, store):
        page = run_paper_report(config, store, pool, say)
    print(f"\nThe paper's tables and figures\n  {store.show(page)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("report", report_job, argv, paper=paper_job)


if __name__ == "__main__":
    sys.exit(main())
