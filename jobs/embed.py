"""pool + weights -> runs/<run>/embeddings: unit-norm backbone features."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.arguments import run_job, save_config
from pipeline.config import RunConfig, this_run
from pipeline.on_ray.session import ray_session
from pipeline.progress import say
from pipeline.publish import required
from pipeline.stages.embed import run_embed
from pipeline.stages.ingest import ingested
from pipeline.storage import Location


def embed_job(config: RunConfig, store: Location) -> None:
    """One stage of ``jobs.select``."""
    trained = required(config, store, "pretrain")
    with ray_session(say, store):
        embedded = run_embed(config, store, ingested(config, store), trained, say)
    save_config(config, store)
    print(
        f"\n{embedded['size']} embeddings of {embedded['dimensions']} dimensions\n"
        f"  {store.show(embedded['files'])}\nNext:\n  hacon cluster {this_run(config)} --budget B"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("embed", embed_job, argv)


if __name__ == "__main__":
    sys.exit(main())
