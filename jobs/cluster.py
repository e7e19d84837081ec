"""embeddings -> runs/<run>/clusters: K clusters that stand for classes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.arguments import run_job, save_config
from pipeline.config import RunConfig, this_run
from pipeline.on_ray.session import ray_session
from pipeline.progress import say
from pipeline.publish import required
from pipeline.stages.cluster import check_backend, clusters_for, run_cluster
from pipeline.storage import Location


def cluster_job(config: RunConfig, store: Location) -> None:
    """One stage of ``jobs.select``."""
    embedded = required(config, store, "embeddings")
    clusters_for(config, embedded["size"])
    with ray_session(say, store):
        check_backend(config)
        clustered = run_cluster(config, store, embedded, say)
    save_config(config, store)
    print(
        f"\n{clustered['k']} clusters by {clustered['backend']}\n"
        f"  {store.show(clustered['folder'])}\nNext:\n  hacon query {this_run(config)} --budget B"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("cluster", cluster_job, argv)


if __name__ == "__main__":
    sys.exit(main())
