"""clusters, features or confidence -> the order in which to label.

Runs in the calling process. Orders on features hold all features in memory; for others it reads small columns, and the
features of a sample, on which the paper's premise is measured.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts import ORDER_SCHEMA, PoolManifest, confidence_at, matching_temperature
from pipeline.config import RunConfig
from pipeline.data.labels import Table, named_by_table
from pipeline.data.pool import PoolReader
from pipeline.errors import InputError
from pipeline.on_ray.read_features import all_features, features_of_samples
from pipeline.on_ray.session import ray_session
from pipeline.plan import AUTO, PREMISED, order_of, trains
from pipeline.progress import counted, watched
from pipeline.publish import stage_of
from pipeline.results import LABELLED, SHEET, Clustered, Embedded, Queried, Trained
from pipeline.run import Run
from pipeline.select.groups import capped
from pipeline.select.pool_view import PoolView
from pipeline.select.premise import SAMPLE, Premise, premise
from pipeline.select.registry import Strategy, strategy
from pipeline.stages.bundle import SHOWN, write_bundle
from pipeline.stages.cluster import read_clustering
from pipeline.stages.groups import groups_of, groups_table, table_file
from pipeline.storage import Location

HERE = frozenset({"features", "cluster", "distance", "confidence", "variability"})
"""Columns of a ``PoolView`` that a run has without labels, pixels or another training."""


def check_query(config: RunConfig, size: int | None = None) -> None:
    """Raise InputError for an impossible query. Called before anything is computed.

    Args:
        size: images in the pool, once that is known.
    """
    budget, most = config.query.budget, config.query.max_budget
    order = order_of(config)
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
    if trains(config) and matching_temperature(config.query.temperature, temperatures) is None:
        have = ", ".join(map(str, temperatures))
        raise InputError(
            f"query.temperature={config.query.temperature} is not accumulated in pre-training; choose one of {have}, "
            "or add it to pretrain.confidence_temperatures."
        )


def query(run: Run, pool: PoolManifest, trained: Trained | None, embedded: Embedded, clustered: Clustered) -> Queried:
    """Order the pool and write the query, or keep what is there.

    Args:
        trained: None: the run has no confidence, and its order needs none.
        embedded: in the space in which images are compared.
    """
    check_query(run.config, pool.size)
    inputs = {"clusters": clustered.fingerprint, "confidence": None if trained is None else trained.fingerprint}
    table = labelled_table(run.config)
    if table is not None:  # absent where there is none, as in the claims of older versions
        inputs["labelled"] = hashlib.sha256(table.data).hexdigest()
    groups = groups_table(run.config)
    if groups is not None:
        inputs["groups"] = hashlib.sha256(groups.data).hexdigest()
    stage = stage_of(run, Queried, inputs, reusable=False)

    def work(_: str) -> Queried:
        view = pool_view(run.store, trained, clustered, run.config.query.temperature)
        if table is not None:
            view = replace(view, labelled=_labelled(run, pool, table))
        measured = _premise(run, view, embedded)
        order, reason = _chosen(run, measured)
        run.log(f"order {order.name}{f': {reason}' if reason else ''}")
        if "features" in order.needs:
            with ray_session(run.log, run.store):
                view = replace(view, features=all_features(run.store, embedded))
        # In the stage's folder, where people look. Attempts cannot clash: the same inputs give the same bytes.
        made = _write(run, pool, view, order, stage.folder, groups)
        if table is not None:  # for later queries of a growing archive: the table may be gone by then
            ids = pa.table({"sample_id": view.sample_id[view.labelled_rows]})
            run.store.write_table(f"{stage.folder}/{LABELLED}", ids)
        return replace(made, reason=reason, premise=None if measured is None else measured.to_dict())

    queried = stage.run(work, run.log)
    _hand_over(run, pool, queried)
    return queried


def labelled_table(config: RunConfig) -> Table | None:
    """The file that says what is labelled already.

    Raises:
        InputError: it is not there.
    """
    name = config.query.labelled
    return None if name is None else table_file(name, "--labelled")


def _labelled(run: Run, pool: PoolManifest, table: Table) -> NDArray[np.bool_]:
    """(N,) what is labelled already.

    Raises:
        InputError: more than is left is asked for, or a table that cannot be read so.
    """
    config, reader = run.config, PoolReader(run.store, pool)
    keys = reader.keys(np.arange(pool.size)).to_pylist()
    labelled, unknown = named_by_table(table, keys, config.ingest.key_column)
    count = int(labelled.sum())
    run.log(f"{count} of {counted(pool.size, 'image')} labelled already, by '{table.name}'")
    if unknown:
        run.log(f"{counted(len(unknown), 'id')} of '{table.name}' not in the pool, such as '{unknown[0]}'")
    if config.query.budget > pool.size - count:
        raise InputError(
            f"The budget is {config.query.budget}, and {pool.size - count} of {counted(pool.size, 'image')} are not "
            "labelled yet; choose at most so many."
        )
    return labelled


def pool_view(store: Location, trained: Trained | None, clustered: Clustered, temperature: float) -> PoolView:
    """The columns that strategies may see, joined by id, without features."""
    clustering = read_clustering(store, clustered)
    view = PoolView(
        sample_id=clustering.sample_id, cluster=clustering.cluster, distance=clustering.distance, k=clustering.k
    )
    if trained is None:
        return view
    # Read one temperature only: the rows of the others would take most of the memory.
    near = ("temperature", temperature * (1 - 1e-8), temperature * (1 + 1e-8))
    confidence = confidence_at(store.read_table(trained.confidence_file, between=near), temperature)
    assert np.array_equal(clustering.sample_id, confidence.sample_id), "clusters and confidence are of different pools"
    return replace(view, confidence=confidence.confidence, variability=confidence.variability)


def emitted(order: Strategy, budget: int, max_budget: int | None, size: int) -> int:
    """How many images to rank: the budget, or up to the whole pool if the order nests and ranking more is cheap."""
    if not order.nests:
        return budget
    if max_budget is None:
        # On features every further pick searches the pool: too slow to rank a million images unasked.
        return budget if "features" in order.needs else size
    return min(max_budget, size)


def _premise(run: Run, view: PoolView, embedded: Embedded) -> Premise | None:
    """Of a sample of the pool; None where there is no confidence."""
    if view.confidence is None or view.cluster is None:
        return None
    if unknown := int(np.isnan(view.confidence).sum()):
        run.log(
            f"{unknown} of {len(view.sample_id)} images were never drawn (training drops what is left of an epoch): "
            "no confidence"
        )
    rows = np.arange(len(view.sample_id))
    if len(rows) > SAMPLE:
        rows = np.sort(np.random.default_rng(run.config.seed).choice(rows, SAMPLE, replace=False))
    with ray_session(run.log, run.store):
        features = features_of_samples(run.store, embedded, rows)
    return premise(features, view.cluster[rows], view.confidence[rows])


def _chosen(run: Run, measured: Premise | None) -> tuple[Strategy, str]:
    """The order, and a sentence why where ``auto`` chose it."""
    order = order_of(run.config)
    if run.config.query.order != AUTO:
        return order, ""
    if measured is None:
        return order, "it was measured best on features of this kind"
    if measured.holds:
        return strategy(PREMISED), measured.words
    return order, measured.words


def _write(
    run: Run, pool: PoolManifest, view: PoolView, order_by: Strategy, folder: str, groups: Table | None
) -> Queried:
    """Rank the samples of the view and write the query's files into ``folder``."""
    config, store = run.config, run.store
    most = emitted(order_by, config.query.budget, config.query.max_budget, len(view.unlabelled_rows))
    group = None if groups is None else groups_of(run, groups, PoolReader(store, pool).keys(view.sample_id).to_pylist())
    with watched(f"the order {order_by.name}", run.log):
        if group is None:
            ids = order_by.query(view, most, config.seed)
        else:
            assert config.query.at_most is not None
            ids = capped(order_by, view, most, config.seed, group, config.query.at_most)
    if len(ids) < config.query.budget:
        raise InputError(
            f"With at most {config.query.at_most} a '{config.query.per}' there are {counted(len(ids), 'image')} to "
            f"choose, and the budget is {config.query.budget}; lower --budget, or raise --at-most."
        )
    # The view is in id order and ids are dense, so an id is its row.
    assert view.cluster is not None
    keys, unknown = PoolReader(store, pool).keys(ids), np.full(pool.size, np.nan)
    confidence = unknown if view.confidence is None else view.confidence
    variability = unknown if view.variability is None else view.variability
    columns = [np.arange(1, len(ids) + 1), ids, keys, view.cluster[ids], confidence[ids], variability[ids]]
    order = pa.table(columns, schema=ORDER_SCHEMA)
    made = Queried(folder=folder, budget=config.query.budget, order=order_by.name, emitted=len(order))
    store.write_table(made.order_file, order)
    return made


def _hand_over(run: Run, pool: PoolManifest, queried: Queried) -> None:
    order = run.store.read_table(queried.order_file, between=("rank", 1, queried.budget)).sort_by("rank")
    ids = np.asarray(order["sample_id"])[:SHOWN]
    there = run.store.is_file(f"{queried.folder}/{SHEET}")
    images = PoolReader(run.store, pool).images(ids[:0] if there else ids)
    write_bundle(run, queried.folder, 1, order, images, pool)
