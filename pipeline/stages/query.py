"""clusters + confidence -> the order in which to label. Runs where it is called: small columns only, but for
orders on features, which have them all in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.artifacts import ORDER_SCHEMA, PoolManifest, confidence_at
from pipeline.config import RunConfig, store_flag
from pipeline.data.pool import PoolReader
from pipeline.errors import InputError
from pipeline.on_ray.embeddings import all_features
from pipeline.on_ray.plan import CONFIDENCE
from pipeline.on_ray.session import ray_session
from pipeline.publish import Stage, run_folder
from pipeline.select.handoff import label_studio_json, query_csv
from pipeline.select.pool_view import PoolView
from pipeline.select.registry import Strategy, strategy
from pipeline.stages.cluster import read_clustering
from pipeline.storage import Location

QUERY, ORDER, TASKS = "query.csv", "order.parquet", "query.labelstudio.json"
HERE = frozenset({"features", "cluster", "distance", "confidence", "variability"})
"""The columns of a pool's view that a run has without labels, pixels or another training."""


def check_query(config: RunConfig, size: int | None = None) -> None:
    """Raise InputError for a query that cannot be: called early, before anything is computed.

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
        raise InputError(f"The budget is {budget}, and the pool has only {size} images; choose at most {size}.")
    temperatures = config.pretrain.confidence_temperatures
    if not any(np.isclose(config.query.temperature, each, rtol=1e-9, atol=0) for each in temperatures):
        have = ", ".join(map(str, temperatures))
        raise InputError(
            f"query.temperature={config.query.temperature} is not accumulated in pre-training; choose one of {have}, "
            "or add it to pretrain.confidence_temperatures."
        )


def run_query(
    config: RunConfig,
    store: Location,
    pool: PoolManifest,
    results: dict[str, dict[str, Any]],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Order the pool and write the query, or keep what is there.

    Args:
        results: of the stages, by name: pretrain, embeddings, clusters.
    """
    check_query(config, pool.size)
    settings = config.query
    stage = Stage(
        store,
        run_folder(config.run, "query"),
        {
            "clusters": results["clusters"]["fingerprint"],
            "confidence": results["pretrain"]["fingerprint"],
            "seed": config.seed,
            "query.budget": settings.budget,
            "query.order": settings.order,
            "query.temperature": settings.temperature,
            "query.max_budget": settings.max_budget,
            "query.image_prefix": settings.image_prefix,
        },
        f"start a new run that takes over what it can: --run NEW --from {config.run}{store_flag(config)}",
    )
    # Where people look for it: the same inputs give the same bytes, whoever writes them.
    return stage.run(lambda _: _query(config, store, pool, results, stage.folder, say), say)


def pool_view(store: Location, trained: dict[str, Any], clustered: dict[str, Any], temperature: float) -> PoolView:
    """All that strategies may see, joined by id."""
    clustering = read_clustering(store, clustered)
    # One temperature of several: the others' rows would be most of what a query holds.
    near = ("temperature", temperature * (1 - 1e-8), temperature * (1 + 1e-8))
    confidence = confidence_at(store.read_table(f"{trained['files']}/{CONFIDENCE}", between=near), temperature)
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
    """How many images to put in order: what is asked for, and of an order that costs nothing more, the whole pool."""
    if not order.nests:
        return budget
    if max_budget is None:
        # On features every further pick is a search of the pool: never for all of a million images unasked.
        return budget if "features" in order.needs else size
    return min(max_budget, size)


def _query(
    config: RunConfig,
    store: Location,
    pool: PoolManifest,
    results: dict[str, dict[str, Any]],
    folder: str,
    say: Callable[[str], None],
) -> dict[str, Any]:
    view = pool_view(store, results["pretrain"], results["clusters"], config.query.temperature)
    order_by = strategy(config.query.order)
    assert view.confidence is not None
    if unknown := int(np.isnan(view.confidence).sum()):
        say(
            f"{unknown} of {pool.size} images were never drawn (training drops what is left of an epoch): no confidence"
        )
    if "features" in order_by.needs:
        embedded = results["embeddings"]
        with ray_session(say, store):
            view = replace(view, features=all_features(store, embedded))
    most = emitted(order_by, config.query.budget, config.query.max_budget, pool.size)
    ids = order_by.query(view, most, config.seed)
    # The view is in id order and ids are dense, so an id is its row.
    assert view.cluster is not None and view.confidence is not None and view.variability is not None
    keys = PoolReader(store, pool).keys(ids)
    columns = [np.arange(1, len(ids) + 1), ids, keys, view.cluster[ids], view.confidence[ids], view.variability[ids]]
    order = pa.table(columns, schema=ORDER_SCHEMA)
    query = order.slice(0, config.query.budget)
    folder_of_images = config.ingest.source.removeprefix("folder:")
    prefix = config.query.image_prefix
    if prefix is None and folder_of_images != config.ingest.source:
        prefix = folder_of_images
    store.write_table(f"{folder}/{ORDER}", order)
    store.write_bytes(f"{folder}/{QUERY}", query_csv(query).encode())
    store.write_bytes(f"{folder}/{TASKS}", label_studio_json(query, prefix).encode())
    return {"budget": config.query.budget, "order": config.query.order, "emitted": len(order)}
