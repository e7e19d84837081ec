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
from pipeline.data.catalogue import checked
from pipeline.moco.fit import check_splits, fit_to_pool
from pipeline.on_ray.session import ray_session
from pipeline.run import Run
from pipeline.select import strategy
from pipeline.stages.cluster import check_backend, cluster, clusters_for
from pipeline.stages.embed import embed
from pipeline.stages.ingest import ingest
from pipeline.stages.pretrain import check_workers, pretrain
from pipeline.stages.query import check_query, query
from pipeline.stages.report import next_command, report
from pipeline.stages.warm_up import warm_up


def select(run: Run) -> None:
    """All six stages in one go. What can be known to fail is looked for first, before anything is computed."""
    config, show = run.config, run.store.show
    checked(config.ingest)
    check_splits(config.pretrain, config.workers)
    check_query(config)
    importing, compiling = warm_up()
    with ray_session(run.log, run.store):
        importing.join()
        check_backend(run)
        check_workers(run)
        pool = ingest(run)
        check_query(config, pool.size)
        clusters_for(config, pool.size)
        fit_to_pool(config.pretrain, pool.size, config.workers)
        save_config(run, first=True)  # from here on a run that was killed goes on with --run alone
        trained = pretrain(run, pool)
        embedded = embed(run, pool, trained)
        compiling.join()
        clustered = cluster(run, embedded)
        queried = query(run, pool, trained, embedded, clustered)
        page = report(run, pool, trained, embedded, clustered, queried)
        save_config(run)
    goes_on = strategy(config.query.order).nests
    words = "To go on labelling where this query ends:" if goes_on else "For a query of twice the size, chosen anew:"
    print(
        f"\n{config.query.budget} of {pool.size} images to label first:\n"
        f"  the query     {show(queried.query_file)}\n"
        f"  Label Studio  {show(queried.tasks_file)}\n"
        f"  the report    {show(page.page_file)}\n"
        f"{words}\n  {next_command(config, pool, clustered)}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("select", select, argv)


if __name__ == "__main__":
    sys.exit(main())
