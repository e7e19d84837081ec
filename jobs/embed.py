"""pool + weights -> runs/<run>/embeddings: unit-norm backbone features."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.arguments import run_job
from pipeline.config import this_run
from pipeline.on_ray.session import ray_session
from pipeline.publish import required
from pipeline.results import Trained
from pipeline.run import Run
from pipeline.stages.embed import embed
from pipeline.stages.ingest import ingested


def embed_job(run: Run) -> None:
    """One stage of ``jobs.select``."""
    trained = required(run, Trained)
    with ray_session(run.log, run.store):
        embedded = embed(run, ingested(run), trained)
    run.save()
    print(
        f"\n{embedded.size} embeddings of {embedded.dimensions} dimensions\n"
        f"  {run.store.show(embedded.files)}\nNext:\n  hacon cluster {this_run(run.config)} --budget B"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("embed", embed_job, argv)


if __name__ == "__main__":
    sys.exit(main())
