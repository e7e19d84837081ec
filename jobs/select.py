"""THE MAIN JOB: from a pool of images to a ranked query and the page that explains it.

    ingest    images anywhere        -> pool            Parquet, decoded and resized once
    pretrain  pool                   -> weights, confidence of every image
    embed     pool, weights          -> features
    cluster   features               -> K clusters that stand for classes
    query     clusters, confidence   -> the order in which to label: query.csv
    report    everything             -> report.html

A stage that is done is kept; what changed is an error that names it. Also: ``hacon select``, and
``ray job submit --working-dir . -- python -m jobs.select ...``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.arguments import run_job, save_config
from pipeline.config import RunConfig
from pipeline.data.catalogue import checked
from pipeline.moco.fit import check_splits, fit_to_pool
from pipeline.on_ray.session import ray_session
from pipeline.progress import say
from pipeline.select import strategy
from pipeline.stages.cluster import check_backend, clusters_for, run_cluster
from pipeline.stages.embed import run_embed
from pipeline.stages.ingest import ingest
from pipeline.stages.pretrain import check_workers, run_pretrain
from pipeline.stages.query import QUERY, TASKS, check_query, run_query
from pipeline.stages.report import PAGE, next_command, run_report
from pipeline.stages.warm_up import warm_up
from pipeline.storage import Location


def select(config: RunConfig, store: Location) -> None:
    """All six stages in one go. What can be known to fail is looked for first, before anything is computed."""
    checked(config.ingest)
    check_splits(config.pretrain, config.workers)
    check_query(config)
    importing, compiling = warm_up()
    with ray_session(say, store):
        importing.join()
        check_backend(config)
        check_workers(config)
        pool = ingest(config, store, say)
        check_query(config, pool.size)
        clusters_for(config, pool.size)
        fit_to_pool(config.pretrain, pool.size, config.workers)
        save_config(config, store, first=True)  # from here on a run that was killed goes on with --run alone
        trained = run_pretrain(config, store, pool, say)
        embedded = run_embed(config, store, pool, trained, say)
        compiling.join()
        clustered = run_cluster(config, store, embedded, say)
        results = {"pretrain": trained, "embeddings": embedded, "clusters": clustered}
        query = run_query(config, store, pool, results, say)
        page = run_report(config, store, pool, results | {"query": query}, say)
        save_config(config, store)
    goes_on = strategy(config.query.order).nests
    words = "To go on labelling where this query ends:" if goes_on else "For a query of twice the size, chosen anew:"
    print(
        f"\n{config.query.budget} of {pool.size} images to label first:\n"
        f"  the query     {store.show(query['folder'] + '/' + QUERY)}\n"
        f"  Label Studio  {store.show(query['folder'] + '/' + TASKS)}\n"
        f"  the report    {store.show(page['folder'] + '/' + PAGE)}\n"
        f"{words}\n  {next_command(config, pool, clustered)}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("select", select, argv)


if __name__ == "__main__":
    sys.exit(main())
