"""clusters + confidence -> the order in which to label.

Runs in the calling process. It reads small columns only; orders on features also hold all features in memory.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from pipeline.artifacts import ORDER_SCHEMA, PoolManifest, confidence_at, matching_temperature
from pipeline.config import RunConfig
from pipeline.data.pool import PoolReader
from pipeline.errors import InputError
from pipeline.on_ray.embeddings import all_features
from pipeline.on_ray.session import ray_session
from pipeline.progress import counted
from pipeline.publish import stage_of
from pipeline.results import Clustered, Embedded, Queried, Trained
from pipeline.run import Run
from pipeline.select.handoff import label_studio_json, query_csv
from pipeline.select.pool_view import PoolView
from pipeline.select.registry import Strategy, strategy
from pipeline.stages.cluster import read_clustering
from pipeline.storage import Location

HERE = frozenset({"features", "cluster", "distance", "confidence", "variability"})
"""Columns of a ``PoolView`` that a run has without labels, pixels or another training."""


def check_query(config: RunConfig, size: int | None = None) -> None:
    """Raise InputError for an impossible query. Called before anything is computed.

    Args:
        size: images in the pool, once that is known.
    """
    budget, most = config.query.budget, config.query.max_budget
    order = strategy(config.query.order)
    missing = [column for column in order.needs if column not in HERE]
    if missing:
        raise InputError(
            f"The order '{order.name}' needs {' and '.join(missing)}, which this job does not make; "
            "the place for it is: hacon benchmark"
        )
    if budget < 1:
        raise InputError(f"The budget is {budget}; give the number of images to label, 1 or more, with --budget.")
    if most is not None and most < budget:
        raise InputError(f"query.max_budget={most} is below the budget of {budget}; raise it, or leave it out.")
    if most is not None and most != budget and not order.nests:
        raise InputError(
            f"query.max_budget={most}, but a query of {most} by '{order.name}' does not begin with that of {budget}; "
            "leave it out."
        )
    if size is not None and budget > size:
        raise InputError(
            f"The budget is {budget}, and the pool has only {counted(size, 'image')}; choose at most {size}."
        )
    temperatures = config.pretrain.confidence_temperatures
    if matching_temperature(config.query.temperature, temperatures) is None:
        have = ", ".join(map(str, temperatures))
        raise InputError(
            f"query.temperature={config.query.temperature} is not accumulated in pre-training; choose one of {have}, "
            "or add it to pretrain.confidence_temperatures."
        )


def query(run: Run, pool: PoolManifest, trained: Trained, embedded: Embedded, clustered: Clustered) -> Queried:
    """Order the pool and write the query, or keep what is there."""
    check_query(run.config, pool.size)
    inputs = {"clusters": clustered.fingerprint, "confidence": trained.fingerprint}
    stage = stage_of(run, Queried, inputs, reusable=False)

    def work(_: str) -> Queried:
        view = _view(run, pool, trained, embedded, clustered)
        # In the stage's folder, where people look. Attempts cannot clash: the same inputs give the same bytes.
        return _write(run, pool, view, stage.folder)

    queried = stage.run(work, run.log)
    _write_tasks(run, queried)
    return queried


def pool_view(store: Location, trained: Trained, clustered: Clustered, temperature: float) -> PoolView:
    """The columns that strategies may see, joined by id, without features."""
    clustering = read_clustering(store, clustered)
    # Read one temperature only: the rows of the others would take most of the memory.
    near = ("temperature", temperature * (1 - 1e-8), temperature * (1 + 1e-8))
    confidence = confidence_at(store.read_table(trained.confidence_file, between=near), temperature)
    assert np.array_equal(clustering.sample_id, confidence.sample_id), "clusters and confidence are of different pools"
    return PoolView(
        sample_id=clustering.sample_id,
        cluster=clustering.cluster,
        distance=clustering.distance,
        confidence=confidence.confidence,
        variability=confidence.variability,
        k=clustering.k,
    )


def emitted(order: Strategy, budget: int, max_budget: int | None, size: int) -> int:
    """How many images to rank: the budget, or up to the whole pool if the order nests and ranking more is cheap."""
    if not order.nests:
        return budget
    if max_budget is None:
        # On features every further pick searches the pool: too slow to rank a million images unasked.
        return budget if "features" in order.needs else size
    return min(max_budget, size)


def _view(run: Run, pool: PoolManifest, trained: Trained, embedded: Embedded, clustered: Clustered) -> PoolView:
    """The columns that the order may see."""
    view = pool_view(run.store, trained, clustered, run.config.query.temperature)
    assert view.confidence is not None
    if unknown := int(np.isnan(view.confidence).sum()):
        run.log(
            f"{unknown} of {pool.size} images were never drawn (training drops what is left of an epoch): no confidence"
        )
    if "features" in strategy(run.config.query.order).needs:
        with ray_session(run.log, run.store):
            view = replace(view, features=all_features(run.store, embedded))
    return view


def _write(run: Run, pool: PoolManifest, view: PoolView, folder: str) -> Queried:
    """Rank the samples of the view and write the query's files into ``folder``."""
    config, store = run.config, run.store
    order_by = strategy(config.query.order)
    most = emitted(order_by, config.query.budget, config.query.max_budget, pool.size)
    ids = order_by.query(view, most, config.seed)
    # The view is in id order and ids are dense, so an id is its row.
    assert view.cluster is not None and view.confidence is not None and view.variability is not None
    keys = PoolReader(store, pool).keys(ids)
    columns = [np.arange(1, len(ids) + 1), ids, keys, view.cluster[ids], view.confidence[ids], view.variability[ids]]
    order = pa.table(columns, schema=ORDER_SCHEMA)
    query = order.slice(0, config.query.budget)
    made = Queried(folder=folder, budget=config.query.budget, order=config.query.order, emitted=len(order))
    store.write_table(made.order_file, order)
    store.write_bytes(made.query_file, query_csv(query).encode())
    return made


def _write_tasks(run: Run, queried: Queried) -> None:
    """Label Studio's tasks, where they are not there as they should be: ``query.image_prefix`` may have changed."""
    config, store = run.config, run.store
    folder_of_images = config.ingest.source.removeprefix("folder:")
    prefix = config.query.image_prefix
    if prefix is None and folder_of_images != config.ingest.source:
        prefix = folder_of_images
    order = store.read_table(queried.order_file, between=("rank", 1, queried.budget)).sort_by("rank")
    tasks = label_studio_json(order, prefix).encode()
    there = store.is_file(queried.tasks_file)
    if there and store.read_bytes(queried.tasks_file) == tasks:
        return
    if there:
        run.log(f"Label Studio's tasks are written anew, with other addresses: {store.show(queried.tasks_file)}")
    store.write_bytes(queried.tasks_file, tasks)
