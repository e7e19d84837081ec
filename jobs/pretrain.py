"""pool -> runs/<run>/pretrain: MoCo v2 weights and every image's confidence."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.arguments import run_job, save_config
from pipeline.config import RunConfig, this_run
from pipeline.on_ray.session import ray_session
from pipeline.progress import say
from pipeline.stages.ingest import ingested
from pipeline.stages.pretrain import check_workers, run_pretrain
from pipeline.storage import Location


def pretrain_job(config: RunConfig, store: Location) -> None:
    """One stage of ``jobs.select``."""
    with ray_session(say, store):
        check_workers(config)
        trained = run_pretrain(config, store, ingested(config, store), say)
    save_config(config, store)
    print(
        f"\nTrained to a loss of {trained['loss']:.3f}\n"
        f"  {store.show(trained['folder'])}\nNext:\n  hacon embed {this_run(config)}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("pretrain", pretrain_job, argv)


if __name__ == "__main__":
    sys.exit(main())
