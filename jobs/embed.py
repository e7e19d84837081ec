"""pool + encoder -> runs/<run>/embeddings: unit-norm features, and the space in which they are compared."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.arguments import run_job
from pipeline.config import this_run
from pipeline.on_ray.session import ray_session
from pipeline.plan import trained_of
from pipeline.run import Run
from pipeline.stages.embed import check_features, embed
from pipeline.stages.ingest import ingested
from pipeline.stages.space import compare


def embed_job(run: Run) -> None:
    """One stage of ``jobs.select``."""
    check_features(run.config.embed)
    trained = trained_of(run) if run.config.embed.features == "moco" else None
    pool = ingested(run)
    with ray_session(run.log, run.store):
        embedded = compare(run, embed(run, pool, trained))
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
