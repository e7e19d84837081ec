"""THE SCHEDULED JOB: what is new in the archive, and the next images to label.

    list      the folder                    -> what is unknown, changed or gone
    ingest    only that                     -> a generation of images
    embed     only that, by the run's own encoder, in the run's own space
    assign    to the run's clusters; judge by the distances whether these still fit
    query     all of the archive, where what was handed out or labelled counts as covered
    publish   one small object, last

One job at a time holds the run's lease. Whatever kills a job, the next one begins the same night anew: what is not
published has not been. A night in which nothing is new and nothing came back leaves nothing.
"""

from __future__ import annotations

import csv
import io
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.archive.changes import (
    CHANGES_COLUMNS,
    Changes,
    changes,
    key_of_samples,
    look,
    still_there,
    updated,
)
from pipeline.archive.state import ISSUED_SCHEMA, Archive, answered, samples_schema
from pipeline.artifacts import CATALOGUE_SCHEMA, ORDER_SCHEMA, Float32, Int64, PoolManifest
from pipeline.cluster.assignment import to_nearest
from pipeline.cluster.space import Space
from pipeline.data.catalogue import checked, list_folder, pool_name, some_of_folder
from pipeline.errors import HeldError, InputError
from pipeline.features import features_from_files
from pipeline.lease import Lease, leased, still_ours
from pipeline.on_ray.pool_maker import make_pool, surveyed
from pipeline.on_ray.session import ray_session
from pipeline.on_ray.write_features import embed_pool
from pipeline.plan import order_of
from pipeline.progress import counted, watched
from pipeline.results import (
    ANSWERS,
    CHANGES,
    FILES,
    ISSUED,
    ORDER,
    QUERY,
    SAMPLES,
    TASKS,
    Compared,
    Embedded,
    Generation,
    Night,
)
from pipeline.run import Run
from pipeline.select.continued import Continued, churn, continued
from pipeline.select.handoff import label_studio_json, query_csv
from pipeline.select.pool_view import PoolView
from pipeline.stages.archive import FIRST, Known, archive_of, clusters_of, known, night_folder
from pipeline.stages.labels import batches_after
from pipeline.stages.query import addressed

PARTS = 16
"""Nights whose tables are read one by one; then one holds all."""


@dataclass(frozen=True)
class Reselected:
    """What came of a night."""

    night: Night | None
    """None: nothing was new, nothing came back, and nothing was published."""
    known: Known


def reselect(run: Run) -> Reselected:
    """Look at the archive once more, and hand out the next images if anything has happened.

    Raises:
        HeldError: another job is at the run.
        InputError: the run has no first query; its folder is missing.
    """
    with leased(run.store, run.config.run, "hacon reselect") as lease:
        return _night(run, lease)


def _night(run: Run, lease: Lease) -> Reselected:
    began, store = time.perf_counter(), run.store
    before = known(run)
    if before.last is not None:
        hand_over(run, before.last)  # whoever published it may have been killed before
    folder = night_folder(run.config.run, before.night + 1)
    store.delete_folder(folder)  # what a killed attempt left: nobody else is here
    location, listing = list_folder(checked(run.config.ingest))
    seen = look(before.files, listing.table)
    run.log(
        f"{counted(listing.table.num_rows, 'image')} in {run.config.ingest.source}: {seen.candidates.num_rows} new or "
        f"written anew, {seen.gone.num_rows} gone"
    )
    answers, last_batch = _answers(run, before)
    if not seen.candidates.num_rows and not seen.gone.num_rows and last_batch == _batch(before):
        return Reselected(None, before)
    files = f"{folder}/files-{lease.mark}"
    if seen.candidates.num_rows:
        source = some_of_folder(checked(run.config.ingest), location, seen.candidates, before.pool)
        with ray_session(run.log, store):
            generation, read = _ingest(run, before, source, f"{files}/pool")
            added = _added(run, before, generation, files)
    else:
        generation, read = None, CATALOGUE_SCHEMA.empty_table()
        added = samples_schema(before.embedded.dimensions).empty_table()
    what = changes(before.files, seen, read, before.size)
    now = archive_of(run, before, updated(before.files, what.files), answers, added)
    for kind, count in what.counts.items():
        run.log(f"{kind}: {counted(count, 'image')}")
    made = _query(run, before, now, tonight=bool(added.num_rows or last_batch != _batch(before)))
    night = _write(run, before, now, what, added, generation, made, last_batch, files, lease)
    night = replace(night, seconds=round(time.perf_counter() - began, 2))
    _publish(run, night, lease)
    hand_over(run, night)
    return Reselected(night, before)


def hand_over(run: Run, night: Night) -> None:
    """Write the newest query where people look for it, unless it is there. It follows from what is published."""
    store, folder = run.store, night.query_folder
    if night.query == FIRST or store.is_file(f"{folder}/{TASKS}"):
        return
    query = store.read_table(night.last_order, between=("rank", 1, night.last_issued)).sort_by("rank")
    prefix, folder_of_images = addressed(run.config)
    version = f"hacon {run.config.run} query {night.query}"
    tasks = label_studio_json(query, prefix, folder=folder_of_images, model_version=version)
    store.write_bytes(f"{folder}/{QUERY}", query_csv(query).encode())
    store.write_bytes(f"{folder}/{TASKS}", tasks.encode())


def _ingest(run: Run, before: Known, source: Any, folder: str) -> tuple[PoolManifest | None, pa.Table]:
    """Read the candidates; the new images as a pool of their own, and what became of each file."""
    have = before.files.filter(pc.is_valid(before.files["sample_id"]))["sha256"].combine_chunks()
    settings = run.config.ingest
    pool = make_pool(run, surveyed(source), pool_name(settings), settings.rows_per_file, folder, known=have)
    return (pool if pool.size else None), run.store.read_table(pool.files.catalogue)


def _added(run: Run, before: Known, generation: PoolManifest | None, files: str) -> pa.Table:
    """The new samples in the space in which images are compared, each with its nearest cluster."""
    schema = samples_schema(before.embedded.dimensions)
    if generation is None:
        return schema.empty_table()
    features = _features(run, before.embedded, generation, f"{files}/embeddings")
    _, centroids = clusters_of(run, before)
    cluster, distance = to_nearest(features, centroids)
    count = generation.size
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), features.shape[1])
    columns = [before.size + np.arange(count), np.full(count, before.night + 1), cluster, distance, vectors]
    return pa.table(columns, names=schema.names).cast(schema)


def _features(run: Run, embedded: Embedded, generation: PoolManifest, folder: str) -> Float32:
    """(n, D) of the new images, by what made the features of the first."""
    store = run.store
    if embedded.encoder is None:
        raise InputError(
            f"Run '{run.config.run}' compares features that were given, by {embedded.source}; new images have none. "
            "Start a run with --features imagenet, or anew with features of all images."
        )
    embed_pool(run, generation, embedded.encoder, folder)
    made = Embedded(files=folder, size=generation.size, dimensions=embedded.encoder.dimensions)
    features = features_from_files(store, made)
    if isinstance(embedded, Compared):
        return Space.from_bytes(store.read_bytes(embedded.space_file))(features)
    return features


def _query(run: Run, before: Known, now: Archive, *, tonight: bool) -> Continued | None:
    """The next images; None where nothing has happened that asks for a query, or nothing is left."""
    config = run.config
    lost = now.lost
    free = now.held & ~now.handed_out & ~now.labelled & ~now.skipped
    budget = min(config.reselect.budget or config.query.budget, int(free.sum()))
    if config.reselect.most_open is not None:
        budget = min(budget, max(0, config.reselect.most_open - int(now.open.sum())))
    if not tonight and not len(lost):
        return None
    if not budget:
        run.log("no query: " + ("every image is handed out" if not free.any() else "enough are open already"))
        return None
    covered = now.labelled | now.open
    order = order_of(config)
    with watched(f"the order {order.name}", run.log):
        return continued(
            order,
            _view(now, np.flatnonzero(free | covered), covered),
            budget,
            config.seed + before.query,
            lost=_view(now, lost, covered),
            plan=budget,
        )


def _view(now: Archive, ids: Int64, covered: np.ndarray[Any, np.dtype[np.bool_]]) -> PoolView:
    return PoolView(
        sample_id=ids,
        cluster=now.cluster[ids],
        distance=now.distance[ids],
        k=int(now.cluster.max()) + 1,
        features=now.features[ids],
        labelled=covered[ids],
    )


def _answers(run: Run, before: Known) -> tuple[pa.Table, int]:
    """What came back of every sample, and the number of the last batch of labels."""
    answers, last = before.answers, _batch(before)
    for number, batch in batches_after(run.store, run.config.run, last):
        answers, unknown = answered(answers, before.files, batch)
        run.log(f"labels {number}: {counted(batch.num_rows - unknown, 'image')}")
        last = number
    return answers, last


def _batch(before: Known) -> int:
    return 0 if before.last is None else before.last.answers


def _write(
    run: Run,
    before: Known,
    now: Archive,
    what: Changes,
    added: pa.Table,
    generation: PoolManifest | None,
    made: Continued | None,
    last_batch: int,
    files: str,
    lease: Lease,
) -> Night:
    """All files of the night but the one that says that it was."""
    store, number = run.store, before.night + 1
    query = before.query + (made is not None)
    issued = now.issued if made is None else _issued(now.issued, made, query)
    after = replace(now, issued=issued)
    whole = len(before.parts) >= PARTS
    parts = (files,) if whole else (*before.parts, files)
    samples = [store.read_table(f"{part}/{SAMPLES}") for part in before.parts] if whole else []
    store.write_table(f"{files}/{FILES}", now.files if whole else what.files)
    store.write_table(f"{files}/{SAMPLES}", pa.concat_tables([*samples, added]))
    store.write_table(f"{files}/{ISSUED}", issued)
    store.write_table(f"{files}/{ANSWERS}", now.answers)
    store.write_bytes(f"{files}/{CHANGES}", _csv(what.listed))
    planned = _planned(run, before)
    moved = None
    if made is not None:
        store.write_table(f"{files}/{ORDER}", _order(now, made))
        free = np.flatnonzero(now.held & ~now.handed_out & ~now.labelled & ~now.skipped)
        moved = churn(planned, made.ids, free)
        last_order, last_issued = f"{files}/{ORDER}", len(made.ids)
    elif before.last is not None:
        last_order, last_issued = before.last.last_order, before.last.last_issued
    else:
        last_order, last_issued = before.queried.order_file, before.queried.budget
    new = () if generation is None else (Generation(before.size, generation),)
    return Night(
        folder=night_folder(run.config.run, number),
        files=files,
        number=number,
        query=query,
        issued=0 if made is None else len(made.ids),
        order=order_of(run.config).name,
        lease=lease.number,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        size=now.size,
        held=still_there(now.files),
        generations=(*before.generations, *new),
        parts=parts,
        whole=whole or (before.last is not None and before.last.whole),
        clusters=before.clustered.files if before.last is None else before.last.clusters,
        clustered=before.pool.size if before.last is None else before.last.clustered,
        last_order=last_order,
        last_issued=last_issued,
        answers=last_batch,
        counts=what.counts,
        totals=after.totals,
        churn=moved,
        verdict=None,
    )


def _issued(issued: pa.Table, made: Continued, query: int) -> pa.Table:
    count = len(made.ids)
    replaces = pa.array(made.replaces, mask=made.replaces < 0)
    columns = [made.ids, np.full(count, query), np.arange(1, count + 1), replaces]
    return pa.concat_tables([issued, pa.table(columns, names=ISSUED_SCHEMA.names).cast(ISSUED_SCHEMA)])


def _order(now: Archive, made: Continued) -> pa.Table:
    """``ORDER_SCHEMA`` of the query and, after it, of what would come next."""
    ids = np.concatenate([made.ids, made.planned])
    keys, unknown = key_of_samples(now.files, ids), np.full(len(ids), np.nan)
    columns = [np.arange(1, len(ids) + 1), ids, pa.array(keys, pa.large_string()), now.cluster[ids], unknown, unknown]
    return pa.table(columns, schema=ORDER_SCHEMA)


def _planned(run: Run, before: Known) -> Int64:
    """What was to come after the last query, in that order."""
    last = before.last
    file, issued = (
        (before.queried.order_file, before.queried.budget) if last is None else (last.last_order, last.last_issued)
    )
    order = run.store.read_table(file).sort_by("rank")
    return np.asarray(order["sample_id"], np.int64)[issued:]


def _csv(rows: list[tuple[str, str, str]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(CHANGES_COLUMNS)
    writer.writerows(rows)
    return text.getvalue().encode()


def _publish(run: Run, night: Night, lease: Lease) -> None:
    """Raise HeldError, and leave nothing, where the lease has passed to another job meanwhile."""
    if not still_ours(run.store, lease) or not run.store.put_if_absent(f"{night.folder}/done.json", night.to_dict()):
        run.store.delete_folder(night.files)
        raise HeldError(f"Run '{run.config.run}' was taken over by another job, which makes this night's query.")
