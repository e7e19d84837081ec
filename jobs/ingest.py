"""images anywhere -> pools/<pool>: Parquet, decoded and resized once."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.arguments import run_job
from pipeline.artifacts import pool_folder
from pipeline.config import this_run
from pipeline.data.catalogue import checked
from pipeline.on_ray.session import ray_session
from pipeline.progress import counted
from pipeline.run import Run
from pipeline.stages.ingest import ingest


def ingest_job(run: Run) -> None:
    """One stage of ``jobs.select``."""
    checked(run.config.ingest)  # bad settings are told at once, before Ray starts
    with ray_session(run.log, run.store):
        pool = ingest(run)
    run.save()
    print(
        f"\nPool {pool.name}: {counted(pool.size, 'image')}, "
        f"{counted(pool.duplicates, 'duplicate')} and {pool.rejected} unreadable left out\n"
        f"  {run.store.show(pool_folder(pool.name))}\nNext:\n  hacon pretrain {this_run(run.config)}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("ingest", ingest_job, argv)


if __name__ == "__main__":
    sys.exit(main())
