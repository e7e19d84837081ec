"""pool -> runs/<run>/pretrain: MoCo v2 weights and every image's confidence."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.arguments import run_job
from pipeline.config import this_run
from pipeline.on_ray.session import ray_session
from pipeline.run import Run
from pipeline.stages.ingest import ingested
from pipeline.stages.pretrain import check_workers, pretrain


def pretrain_job(run: Run) -> None:
    """One stage of ``jobs.select``."""
    with ray_session(run.log, run.store):
        check_workers(run)
        trained = pretrain(run, ingested(run))
    run.save()
    print(
        f"\nTrained to a loss of {trained.loss:.3f}\n"
        f"  {run.store.show(trained.folder)}\nNext:\n  hacon embed {this_run(run.config)}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("pretrain", pretrain_job, argv)


if __name__ == "__main__":
    sys.exit(main())
