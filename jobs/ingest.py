"""images anywhere -> pools/<pool>: Parquet, decoded and resized once."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.arguments import run_job, save_config, say
from pipeline.config import RunConfig
from pipeline.data.catalogue import checked
from pipeline.on_ray.ingest import ingest
from pipeline.on_ray.session import ray_session
from pipeline.storage import Location

PURPOSE = "Read images into a pool on the store."


def ingest_job(config: RunConfig, store: Location) -> None:
    """One stage of ``jobs.select``."""
    checked(config.ingest)  # bad settings are told at once, before Ray starts
    with ray_session(say):
        pool = ingest(config, store, say)
    save_config(config, store)
    print(
        f"\nPool {pool.name}: {pool.size} images, "
        f"{pool.duplicates} duplicates and {pool.rejected} unreadable left out\n"
        f"  {store.show(f'pools/{pool.name}')}\nNext:\n  hacon pretrain --run {config.run}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("ingest", PURPOSE, ingest_job, argv)


if __name__ == "__main__":
    sys.exit(main())
