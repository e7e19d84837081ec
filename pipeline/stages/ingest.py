"""images anywhere -> a pool on the store."""

from __future__ import annotations

from dataclasses import replace
from shlex import quote
from typing import Any

from pipeline.artifacts import PoolManifest, pool_folder
from pipeline.config import RunConfig, decisive, store_flag
from pipeline.data.catalogue import FOLDERS, checked, pool_name
from pipeline.errors import InputError
from pipeline.on_ray.pool_maker import make_pool, survey
from pipeline.publish import Stage, finished
from pipeline.results import Ingested
from pipeline.run import Run
from pipeline.storage import Location


def ingest(run: Run) -> PoolManifest:
    """Make the pool that the settings describe, unless it is there already. Ray is running.

    The files are in ``manifest.folder``, which belongs to this attempt alone. So a job that was killed, or finished
    second, leaves nothing that anybody reads.

    A run that takes over another's stages (``config.reuse``) takes over its pool too, even if the source has new images
    by now: the order that it continues is an order of that pool.

    Raises:
        InputError: no such source, nothing usable in it, or another pool has this name.
    """
    config, store = run.config, run.store
    settings = checked(config.ingest)
    pool = pool_name(settings)
    folder = pool_folder(pool)
    surveyed = survey(settings)
    for note in surveyed.notes:
        run.log(note)

    def work(files: str) -> Ingested:
        return Ingested(manifest=make_pool(run, surveyed, pool, settings.rows_per_file, files))

    deciding = _deciding(replace(config, ingest=settings), surveyed.state)
    remedy = f"name a new pool with --set {quote(f'ingest.name={pool}-2')}"
    if config.reuse is not None and _has_changed(store, folder, deciding):
        run.log(f"'{config.ingest.source}' has changed since; --from goes on with the pool as it is. For all: {remedy}")
        return ingested(run)
    return Stage(store, folder, Ingested, deciding, remedy).run(work, run.log).manifest


def ingested(run: Run) -> PoolManifest:
    """The pool that ``ingest`` made. The source is not read again.

    Raises:
        InputError: there is none.
    """
    pool = pool_name(checked(run.config.ingest))
    done = finished(run.store, pool_folder(pool), Ingested)
    if done is None:
        raise InputError(
            f"There is no pool '{pool}' on '{run.store.show()}'; first: "
            f"hacon ingest --pool {quote(run.config.ingest.source)}{store_flag(run.config)}"
        )
    return done.manifest


def _has_changed(store: Location, folder: str, deciding: dict[str, Any]) -> bool:
    """Whether there is a pool of the same settings, made from another state of the source."""
    before = store.read_json(f"{folder}/settings.json")
    same = before is not None and {**before, "source_state": None} == {**deciding, "source_state": None}
    return same and before != deciding and finished(store, folder, Ingested) is not None


def _deciding(config: RunConfig, state: str) -> dict[str, Any]:
    """What decides the pool's content. The content of a labels table is part of the source's ``state``."""
    deciding = {**decisive(config, "ingest"), "source_state": state}
    if config.ingest.labels in (None, FOLDERS):
        return {**deciding, "key_column": None, "label_column": None}
    return {**deciding, "labels": "csv"}
