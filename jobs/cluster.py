"""embeddings -> runs/<run>/clusters: K clusters that stand for classes."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.arguments import run_job
from pipeline.config import this_run
from pipeline.on_ray.session import ray_session
from pipeline.plan import compared_of
from pipeline.progress import counted
from pipeline.run import Run
from pipeline.stages.cluster import check_backend, cluster, clusters_for


def cluster_job(run: Run) -> None:
    """One stage of ``jobs.select``."""
    embedded = compared_of(run)
    clusters_for(run.config, embedded.size)
    with ray_session(run.log, run.store):
        check_backend(run)
        clustered = cluster(run, embedded)
    run.save()
    print(
        f"\n{counted(clustered.k, 'cluster')} by {clustered.backend}\n"
        f"  {run.store.show(clustered.folder)}\nNext:\n  hacon query {this_run(run.config)} --budget B"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("cluster", cluster_job, argv)


if __name__ == "__main__":
    sys.exit(main())
