"""A growing archive on the store: the run's first pool and query, then one folder a night, each published whole.

``runs/<run>/nights/000N/done.json`` is written last, and alone says that the night was: which images came, what it
handed out, and in which files all that lies. A killed attempt leaves files that nobody reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa

from pipeline.archive.changes import FILES_SCHEMA, first_files, updated
from pipeline.archive.state import ANSWERS_SCHEMA, ISSUED_SCHEMA, LABELLED, Archive
from pipeline.artifacts import CATALOGUE_SCHEMA, Float32, Int64, PoolManifest, Uint8, by_sample_id, features_of
from pipeline.data.pool import PoolReader
from pipeline.features import features_from_files
from pipeline.plan import compared_of
from pipeline.publish import finished, last_night, night_folder, required
from pipeline.results import (
    ANSWERS,
    CENTROIDS,
    CLUSTERS,
    FILES,
    ISSUED,
    SAMPLES,
    Clustered,
    Embedded,
    Generation,
    Night,
    Queried,
)
from pipeline.results import LABELLED as LABELLED_FILE
from pipeline.run import Run
from pipeline.stages.ingest import ingested
from pipeline.storage import Location

FIRST = 1
"""The night of the run itself."""
_UNKNOWN = -1
"""Size and time of a file that a pool without a catalogue does not know: it is read once more."""


@dataclass(frozen=True)
class Known:
    """What is read before it is known whether anything is new: the files, and what was handed out and came back."""

    pool: PoolManifest
    embedded: Embedded
    """In the space in which images are compared."""
    clustered: Clustered
    queried: Queried
    last: Night | None
    files: pa.Table
    issued: pa.Table
    answers: pa.Table

    @property
    def night(self) -> int:
        """Number of the last night."""
        return FIRST if self.last is None else self.last.number

    @property
    def query(self) -> int:
        """Number of the last query."""
        return FIRST if self.last is None else self.last.query

    @property
    def size(self) -> int:
        """Samples that the archive ever had."""
        return self.pool.size if self.last is None else self.last.size

    @property
    def generations(self) -> tuple[Generation, ...]:
        """Of images."""
        return (Generation(0, self.pool),) if self.last is None else self.last.generations

    @property
    def parts(self) -> tuple[str, ...]:
        """Folders of the nights' tables since the last that holds all."""
        return () if self.last is None else self.last.parts


def known(run: Run) -> Known:
    """What the archive knows after its last night.

    Raises:
        InputError: the run has no first query.
    """
    store = run.store
    pool, embedded, clustered, queried = (
        ingested(run),
        compared_of(run),
        required(run, Clustered),
        required(run, Queried),
    )
    last = last_night(store, run.config.run)
    if last is None:
        return Known(
            pool,
            embedded,
            clustered,
            queried,
            None,
            _first_files(store, pool),
            _first_issued(run, queried),
            _first_answers(run),
        )
    files = FILES_SCHEMA.empty_table() if last.whole else _first_files(store, pool)
    for part in last.parts:
        files = updated(files, store.read_table(f"{part}/{FILES}"))
    issued, answers = (store.read_table(last.file(name)) for name in (ISSUED, ANSWERS))
    return Known(pool, embedded, clustered, queried, last, files, issued, answers)


def nights(store: Location, run: str) -> list[Night]:
    """All published nights after the first, oldest first."""
    folders = store.folders(f"runs/{run}/{Night.stage}")
    found = (finished(store, night_folder(run, int(number)), Night) for number in folders)
    return [night for night in found if night is not None]


def archive_of(run: Run, known: Known, files: pa.Table, answers: pa.Table, added: pa.Table) -> Archive:
    """The archive with tonight's changes: all that a query needs.

    Args:
        files: after the changes; answers: likewise.
        added: tonight's samples (``samples_schema``).
    """
    store, embedded = run.store, known.embedded
    first, _ = clusters_of(run, known)
    size = known.size + added.num_rows
    night, cluster = np.full(size, FIRST, np.int32), np.empty(size, np.int32)
    distance = np.empty(size, np.float32)
    features = np.empty((size, embedded.dimensions), np.float32)
    features[: embedded.size] = features_from_files(store, embedded)
    for table in (*(store.read_table(f"{part}/{SAMPLES}") for part in known.parts), added):
        ids = np.asarray(table["sample_id"])
        if len(ids):
            night[ids], cluster[ids], distance[ids] = (
                np.asarray(table[name]) for name in ("night", "cluster", "distance")
            )
            features[ids] = features_of(table["features"])
    clustered = by_sample_id(first)  # last: of samples that came before these clusters, it is these that count
    ids = np.asarray(clustered["sample_id"])
    cluster[ids], distance[ids] = np.asarray(clustered["cluster"]), np.asarray(clustered["distance"])
    return Archive(files, known.issued, answers, night, cluster, distance, features)


def clusters_of(run: Run, known: Known) -> tuple[pa.Table, Float32]:
    """The clusters that hold: rows of the samples that they were made of (``CLUSTER_SCHEMA``), and centroids (K, D)."""
    folder = known.clustered.files if known.last is None else known.last.clusters
    centroids = run.store.read_table(f"{folder}/{CENTROIDS}")["centroid"].to_pylist()
    return run.store.read_table(f"{folder}/{CLUSTERS}"), np.asarray(centroids, np.float32)


@dataclass(frozen=True)
class ArchiveReader:
    """The images of all generations, by ``sample_id``."""

    store: Location
    generations: tuple[Generation, ...]

    def images(self, ids: Int64) -> Uint8:
        """(n, H, W, C) of the samples ``ids`` (n,), in that order."""
        first = self.generations[0].manifest
        found = np.empty((len(ids), first.height, first.width, first.channels), np.uint8)
        for rows, generation in self._by_generation(np.asarray(ids, np.int64)):
            reader = PoolReader(self.store, generation.manifest)
            found[rows] = reader.images(np.asarray(ids)[rows] - generation.first_id)
        return found

    def _by_generation(self, ids: Int64) -> Iterator[tuple[Int64, Generation]]:
        firsts = np.array([each.first_id for each in self.generations])
        number = np.searchsorted(firsts, ids, side="right") - 1
        order = np.argsort(number, kind="stable")
        for which, rows in groupby(order.tolist(), lambda row: int(number[row])):
            yield np.array(list(rows)), self.generations[which]


def _first_files(store: Location, pool: PoolManifest) -> pa.Table:
    """The first pool's files, by its catalogue or, in pools of older versions, by what else it says."""
    if store.is_file(pool.files.catalogue):
        return first_files(store.read_table(pool.files.catalogue))
    reader, ids = PoolReader(store, pool), np.arange(pool.size)
    unknown = np.full(pool.size, _UNKNOWN)
    columns = [reader.keys(ids), unknown, unknown, pa.array(reader.digests(), pa.binary(32)), ids]
    return first_files(pa.table([*columns, pa.nulls(pool.size)], names=CATALOGUE_SCHEMA.names).cast(CATALOGUE_SCHEMA))


def _first_issued(run: Run, queried: Queried) -> pa.Table:
    order = run.store.read_table(queried.order_file, between=("rank", 1, queried.budget)).sort_by("rank")
    count = order.num_rows
    columns = [order["sample_id"], np.full(count, FIRST), order["rank"], pa.nulls(count, pa.int64())]
    return pa.table(columns, names=ISSUED_SCHEMA.names).cast(ISSUED_SCHEMA)


def _first_answers(run: Run) -> pa.Table:
    name = f"{run.folder(Queried.stage)}/{LABELLED_FILE}"
    if not run.store.is_file(name):
        return ANSWERS_SCHEMA.empty_table()
    ids = run.store.read_table(name)["sample_id"]
    return pa.table([ids, pa.array([LABELLED] * len(ids), pa.string())], schema=ANSWERS_SCHEMA)
