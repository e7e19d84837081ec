"""THE MAIN FLOW: from a pool of images to a ranked query and the page that explains it.

    ingest    images anywhere        -> pool            Parquet, decoded and resized once
    pretrain  pool                   -> weights, confidence of every image   (only if somebody asks for them)
    embed     pool, encoder          -> features
    compare   features               -> principal components                 (only if embed.space says so)
    cluster   features               -> K clusters that stand for classes
    query     clusters, features,
              or confidence          -> the order in which to label: query.csv
    report    everything             -> report.html

A finished stage is kept. A changed setting is an error that names it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.artifacts import PoolManifest
from pipeline.data.catalogue import look
from pipeline.moco.fit_settings import check_splits, fit_to_pool
from pipeline.on_ray.session import ray_session
from pipeline.plan import trains
from pipeline.results import Clustered, Queried, Reported
from pipeline.run import Run
from pipeline.stages.cluster import check_backend, cluster, clusters_for
from pipeline.stages.embed import check_features, embed
from pipeline.stages.groups import groups_table
from pipeline.stages.ingest import ingest
from pipeline.stages.pretrain import check_workers, pretrain
from pipeline.stages.query import check_query, labelled_table, query
from pipeline.stages.space import compare
from pipeline.stages.warm_up import warm_up


@dataclass(frozen=True)
class Selected:
    """The results of a finished run that callers use."""

    pool: PoolManifest
    clustered: Clustered
    queried: Queried
    reported: Reported


def select(run: Run) -> Selected:
    """Run all stages that the settings ask for. Foreseeable errors are checked before anything is computed.

    Raises:
        InputError: unusable settings, images or store. Names the remedy.
    """
    # Here, since it loads matplotlib, which looks into HOME as it loads: a job settles that first.
    from pipeline.stages.report import report

    config = run.config
    look(config.ingest)
    labelled_table(config)
    groups_table(config)
    check_features(config.embed)
    check_query(config)
    training = trains(config)
    if training:
        check_splits(config.pretrain, config.workers)
    importing, compiling = warm_up(training)
    with ray_session(run.log, run.store):
        importing.join()
        check_backend(run)
        if training:
            check_workers(run)
        pool = ingest(run)
        check_query(config, pool.size)
        clusters_for(config, pool.size)
        if training:
            fit_to_pool(config.pretrain, pool.size, config.workers)
        run.save(first=True)  # from here on --run alone resumes a killed run
        trained = pretrain(run, pool) if training else None
        embedded = compare(run, embed(run, pool, trained))
        compiling.join()
        clustered = cluster(run, embedded)
        queried = query(run, pool, trained, embedded, clustered)
        reported = report(run, pool, trained, embedded, clustered, queried)
        run.save()
    return Selected(pool, clustered, queried, reported)
