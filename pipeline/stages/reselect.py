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

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

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
from pipeline.config import RunConfig
from pipeline.data.catalogue import checked, list_folder, pool_name, some_of_folder
from pipeline.data.folder import FolderSource
from pipeline.errors import HeldError, InputError
from pipeline.features import features_from_files
from pipeline.lease import Lease, leased, still_ours
from pipeline.on_ray.pool_maker import make_pool, surveyed
from pipeline.on_ray.session import ray_session
from pipeline.on_ray.write_features import embed_pool
from pipeline.plan import order_of
from pipeline.progress import counted, watched
from pipeline.publish import night_folder
from pipeline.results import (
    ANSWERS,
    CHANGES,
    FILES,
    ISSUED,
    ORDER,
    SAMPLES,
    Compared,
    Embedded,
    Generation,
    Night,
)
from pipeline.run import Run
from pipeline.select.continued import Cap, Continued, churn, continued
from pipeline.select.pool_view import PoolView
from pipeline.stages.archive import Known, archive_of, clusters_of, known
from pipeline.stages.drift import Judged, judge
from pipeline.stages.groups import groups_of, groups_table
from pipeline.stages.hand_over import hand_over
from pipeline.stages.labels import batches_after
from pipeline.stages.tables import table_csv

PARTS = 16
"""Nights whose tables are read one by one; then one holds all."""


def reselect(run: Run) -> Night | None:
    """Look at the archive once more, and hand out the next images if anything has happened.

    Returns:
        The published night; None: nothing was new, nothing came back, and nothing was published.

    Raises:
        HeldError: another job is at the run.
        InputError: the run has no first query; its folder is missing.
    """
    with leased(run.store, run.config.run, "hacon reselect") as lease:
        return _night(run, lease)


def _night(run: Run, lease: Lease) -> Night | None:
    began, store = time.perf_counter(), run.store
    check_order(run.config)
    before = known(run)
    if before.last is not None:
        hand_over(run, before.last)  # whoever published it may have been killed before
    folder = night_folder(run.config.run, before.night + 1)
    store.delete_folder(folder)  # what a killed attempt left: nobody else is here
    settings = checked(run.config.ingest)
    location, listing = list_folder(settings)
    seen = look(before.files, listing.table)
    run.log(
        f"{counted(listing.table.num_rows, 'image')} in {settings.source}: {seen.candidates.num_rows} new or written "
        f"anew, {seen.gone.num_rows} gone"
    )
    came = _came_back(run, before)
    if not seen.candidates.num_rows and not seen.gone.num_rows and not came.batches:
        return None
    files = f"{folder}/files-{lease.mark}"
    brought = _Brought(CATALOGUE_SCHEMA.empty_table())
    if seen.candidates.num_rows:
        with ray_session(run.log, store):
            brought = _bring(run, before, some_of_folder(settings, location, seen.candidates, before.pool), files)
    what = changes(before.files, seen, brought.read, before.size)
    for kind, count in what.counts.items():
        run.log(f"{kind}: {counted(count, 'image')}")
    added = _assigned(run, before, brought)
    now = archive_of(run, before, updated(before.files, what.files), came.answers, added)
    judged = judge(run, before, now, brought.features, files)
    made = _query(run, before, judged.archive, asked=bool(added.num_rows or came.batches))
    night = _write(run, before, judged, _Tonight(what, added, brought.generation, made, came, files, lease))
    night = replace(night, seconds=round(time.perf_counter() - began, 2))
    _publish(run, night, lease)
    hand_over(run, night)
    return night


def check_order(config: RunConfig) -> None:
    """Raise InputError for an order by something that new images do not have."""
    order = order_of(config)
    if missing := [column for column in order.needs if column not in ("features", "cluster", "distance")]:
        raise InputError(
            f"The order '{order.name}' needs {' and '.join(missing)}, which new images do not have; go on with "
            "another: --set query.order=greedy-medoids"
        )


@dataclass(frozen=True)
class _Brought:
    """What was read tonight."""

    read: pa.Table
    """``CATALOGUE_SCHEMA`` of the candidates."""
    generation: PoolManifest | None = None
    """The new images; None: there are none."""
    features: Float32 | None = None
    """(n, D) theirs, as the encoder makes them."""


@dataclass(frozen=True)
class _CameBack:
    answers: pa.Table
    """``ANSWERS_SCHEMA``, with what came since the last night."""
    batches: int
    """How many batches came since."""
    last: int
    """Number of the last."""


@dataclass(frozen=True)
class _Tonight:
    what: Changes
    added: pa.Table
    generation: PoolManifest | None
    made: Continued | None
    came: _CameBack
    files: str
    lease: Lease


def _bring(run: Run, before: Known, source: FolderSource, files: str) -> _Brought:
    """Read the candidates, and embed what is new. Ray is running."""
    have = before.files.filter(pc.is_valid(before.files["sample_id"]))["sha256"].combine_chunks()
    settings = run.config.ingest
    pool = make_pool(run, surveyed(source), pool_name(settings), settings.rows_per_file, f"{files}/pool", known=have)
    read = run.store.read_table(pool.files.catalogue)
    if not pool.size:
        return _Brought(read)
    encoder = before.embedded.encoder
    if encoder is None:
        raise InputError(
            f"Run '{run.config.run}' compares features that were given, by {before.embedded.source}; new images have "
            "none. Start a run with --features imagenet, or anew with features of all images."
        )
    embed_pool(run, pool, encoder, f"{files}/embeddings")
    made = Embedded(files=f"{files}/embeddings", size=pool.size, dimensions=encoder.dimensions)
    return _Brought(read, pool, features_from_files(run.store, made))


def _assigned(run: Run, before: Known, brought: _Brought) -> pa.Table:
    """The new samples in the space in which images are compared, each with its nearest cluster."""
    schema = samples_schema(before.embedded.dimensions)
    if brought.features is None:
        return schema.empty_table()
    features = brought.features
    if isinstance(before.embedded, Compared):
        features = Space.from_bytes(run.store.read_bytes(before.embedded.space_file))(features)
    _, centroids = clusters_of(run, before)
    cluster, distance = to_nearest(features, centroids)
    count = len(features)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), features.shape[1])
    columns = [before.size + np.arange(count), np.full(count, before.night + 1), cluster, distance, vectors]
    return pa.table(columns, names=schema.names).cast(schema)


def _query(run: Run, before: Known, now: Archive, *, asked: bool) -> Continued | None:
    """The next images; None where nothing has happened that asks for a query, or nothing is left."""
    config = run.config
    lost = now.lost
    free = _free(now)
    budget = min(config.reselect.budget or config.query.budget, int(free.sum()))
    if config.reselect.most_open is not None:
        budget = min(budget, max(0, config.reselect.most_open - int(now.open.sum())))
    if not asked and not len(lost):
        return None
    if not budget:
        run.log("no query: " + ("every image is handed out" if not free.any() else "enough are open already"))
        return None
    covered = now.labelled | now.open
    order, rows = order_of(config), np.flatnonzero(free | covered)
    with watched(f"the order {order.name}", run.log):
        return continued(
            order,
            _view(now, rows, covered),
            budget,
            config.seed + before.query,
            lost=_view(now, lost, covered),
            plan=budget,
            cap=_cap(run, now, rows),
        )


def _cap(run: Run, now: Archive, ids: Int64) -> Cap | None:
    table, at_most = groups_table(run.config), run.config.query.at_most
    if table is None or at_most is None:
        return None
    return Cap(groups_of(run, table, key_of_samples(now.files, ids)), at_most)


def _view(now: Archive, ids: Int64, covered: NDArray[np.bool_]) -> PoolView:
    return PoolView(
        sample_id=ids,
        cluster=now.cluster[ids],
        distance=now.distance[ids],
        k=int(now.cluster.max()) + 1,
        features=now.features[ids],
        labelled=covered[ids],
    )


def _came_back(run: Run, before: Known) -> _CameBack:
    answers, last = before.answers, 0 if before.last is None else before.last.answers
    batches = 0
    for number, batch in batches_after(run.store, run.config.run, last):
        answers, unknown = answered(answers, before.files, batch)
        run.log(f"labels {number}: {counted(batch.num_rows - unknown, 'image')}")
        last, batches = number, batches + 1
    return _CameBack(answers, batches, last)


def _write(run: Run, before: Known, judged: Judged, tonight: _Tonight) -> Night:
    """All files of the night but the one that says that it was."""
    store, files, made, last = run.store, tonight.files, tonight.made, before.last
    now, query = judged.archive, before.query + (made is not None)
    issued = now.issued if made is None else _issued(now.issued, made, query)
    whole = len(before.parts) >= PARTS
    samples = [store.read_table(f"{part}/{SAMPLES}") for part in before.parts] if whole else []
    store.write_table(f"{files}/{FILES}", now.files if whole else tonight.what.files)
    store.write_table(f"{files}/{SAMPLES}", pa.concat_tables([*samples, tonight.added]))
    store.write_table(f"{files}/{ISSUED}", issued)
    store.write_table(f"{files}/{ANSWERS}", now.answers)
    store.write_bytes(f"{files}/{CHANGES}", table_csv(CHANGES_COLUMNS, tonight.what.listed))
    moved = None
    if made is not None:
        store.write_table(f"{files}/{ORDER}", _order(now, made))
        moved = churn(_planned(run, before), made.ids, np.flatnonzero(_free(now)))
        newest = (f"{files}/{ORDER}", len(made.ids))
    elif last is not None:
        newest = (last.last_order, last.last_issued)
    else:
        newest = (before.queried.order_file, before.queried.budget)
    new = () if tonight.generation is None else (Generation(before.size, tonight.generation),)
    return Night(
        folder=night_folder(run.config.run, before.night + 1),
        files=files,
        number=before.night + 1,
        query=query,
        issued=0 if made is None else len(made.ids),
        order=order_of(run.config).name,
        lease=tonight.lease.number,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        size=now.size,
        held=still_there(now.files),
        generations=(*before.generations, *new),
        parts=(files,) if whole else (*before.parts, files),
        whole=whole or (last is not None and last.whole),
        clusters=judged.clusters,
        clustered=judged.clustered,
        reference=judged.reference,
        last_order=newest[0],
        last_issued=newest[1],
        answers=tonight.came.last,
        counts=tonight.what.counts,
        totals=replace(now, issued=issued).totals,
        churn=moved,
        verdict=None if judged.verdict is None else {**judged.verdict.to_dict(), "done": judged.reclustered},
    )


def _free(now: Archive) -> NDArray[np.bool_]:
    """(N,) what can be handed out."""
    return now.held & ~now.handed_out & ~now.labelled & ~now.skipped


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


def _publish(run: Run, night: Night, lease: Lease) -> None:
    """Raise HeldError, and leave nothing, where the lease has passed to another job meanwhile."""
    if not still_ours(run.store, lease) or not run.store.put_if_absent(f"{night.folder}/done.json", night.to_dict()):
        run.store.delete_folder(night.files)
        raise HeldError(f"Run '{run.config.run}' was taken over by another job, which makes this night's query.")
