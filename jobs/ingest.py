"""images anywhere -> pools/<pool>: Parquet, decoded and resized once."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.arguments import run_job, save_config
from pipeline.artifacts import pool_folder
from pipeline.config import RunConfig, this_run
from pipeline.data.catalogue import checked
from pipeline.on_ray.ingest import ingest
from pipeline.on_ray.session import ray_session
from pipeline.progress import say
from pipeline.storage import Location


def ingest_job(config: RunConfig, store: Location) -> None:
    """One stage of ``jobs.select``."""
    checked(config.ingest)  # bad settings are told at once, before Ray starts
    with ray_session(say, store):
        pool = ingest(config, store, say)
    save_config(config, store)
    print(
        f"\nPool {pool.name}: {pool.size} images, "
        f"{pool.duplicates} duplicates and {pool.rejected} unreadable left out\n"
        f"  {store.show(pool_folder(pool.name))}\nNext:\n  hacon pretrain {this_run(config)}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("ingest", ingest_job, argv)


if __name__ == "__main__":
    sys.exit(main())
