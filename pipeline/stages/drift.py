"""Whether what came since still fits the clusters, and new clusters where it does not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from pipeline.archive.state import Archive
from pipeline.artifacts import CLUSTER_SCHEMA, Float32, Int64, features_of
from pipeline.cluster import kmeans
from pipeline.cluster.assignment import to_nearest
from pipeline.cluster.drift import NEW_SAMPLE, RECLUSTER, REFERENCE_SAMPLE, Side, Verdict, verdict
from pipeline.features import features_table, rows_of
from pipeline.plan import trains
from pipeline.progress import watched
from pipeline.publish import required
from pipeline.results import CENTROIDS, CLUSTERS, RECENT, REFERENCE, Embedded
from pipeline.run import Run
from pipeline.stages.archive import Known


@dataclass(frozen=True)
class Judged:
    """The clusters that hold from this night on, and why."""

    archive: Archive
    """With these clusters."""
    verdict: Verdict | None
    """None: nothing new came."""
    reclustered: bool
    clusters: str
    """Folder of the clusters' files."""
    clustered: int
    """How many samples there were when they were made."""
    reference: str
    """File of a sample of these, as the encoder makes them."""


def judge(run: Run, before: Known, now: Archive, added: Float32 | None, files: str) -> Judged:
    """Judge all that came since the clusters were made, and cluster anew where that is asked for and cheap.

    Args:
        added: (n, D) tonight's new images as the encoder makes them; none: nothing new.
        files: this night's folder, for what is written.
    """
    store, config, last = run.store, run.config, before.last
    recent = None if last is None else store.read_table(last.file(RECENT))
    clusters = before.clustered.files if last is None else last.clusters
    kept = Judged(
        archive=now,
        verdict=None,
        reclustered=False,
        clusters=clusters,
        clustered=before.pool.size if last is None else last.clustered,
        reference=_first_reference(run, before, files) if last is None else last.reference,
    )
    if added is not None:
        ids = np.arange(now.size - len(added), now.size)
        tables = [features_table(ids, added), *([] if recent is None else [recent])]
        recent = pa.concat_tables(tables).sort_by([("sample_id", "descending")]).slice(0, NEW_SAMPLE)
    if added is None or recent is None:
        _write_recent(run, files, recent, kept)
        return kept
    reference = store.read_table(kept.reference)
    new = np.flatnonzero(now.held & (np.arange(now.size) >= kept.clustered))
    found = verdict(
        _side(now, reference, np.arange(kept.clustered)),
        _side(now, recent, new),
        config.drift,
        trained=trains(config),
        seed=config.seed,
    )
    run.log(f"drift: {found.words}")
    kept = replace(kept, verdict=found)
    if found.name == RECLUSTER and len(new) and int(now.held.sum()) <= config.drift.recluster_up_to:
        kept = _recluster(run, kept, files)
        _write_reference(run, pa.concat_tables([reference, recent]), kept.reference)
        recent = recent.slice(0, 0)
    _write_recent(run, files, recent, kept)
    return kept


def _side(now: Archive, sample: pa.Table, ids: Int64) -> Side:
    return Side(features_of(sample["features"]), now.cluster[ids], now.distance[ids])


def _recluster(run: Run, judged: Judged, files: str) -> Judged:
    """K-means of what is there; samples that are gone go to the nearest of its clusters."""
    now, config = judged.archive, run.config
    held = np.flatnonzero(now.held)
    k = min(int(now.cluster.max()) + 1, len(held))
    with watched("K-means anew", run.log):
        made = kmeans(now.features[held], k, config.seed, n_init=config.cluster.n_init, backend=config.cluster.backend)
    cluster, distance = to_nearest(now.features, made.centroids)
    cluster[held], distance[held] = made.labels, made.distance
    columns = [np.arange(now.size), cluster, distance]
    run.store.write_table(f"{files}/{CLUSTERS}", pa.table(columns, schema=CLUSTER_SCHEMA))
    run.store.write_table(f"{files}/{CENTROIDS}", pa.table({"centroid": list(made.centroids)}))
    return replace(
        judged,
        archive=replace(now, cluster=cluster, distance=distance),
        reclustered=True,
        clusters=files,
        clustered=now.size,
        reference=f"{files}/{REFERENCE}",
    )


def _first_reference(run: Run, before: Known, files: str) -> str:
    """Written in the first night after the first: a sample of the first pool's features."""
    embedded, store = required(run, Embedded), run.store
    draw = np.random.default_rng(run.config.seed)
    size = before.pool.size
    ids = pa.array(draw.choice(size, min(size, REFERENCE_SAMPLE), replace=False))
    rows = [rows_of(store, f"{embedded.files}/{name}", ids) for name, _, _ in store.files(embedded.files)]
    _write_reference(run, pa.concat_tables(rows), f"{files}/{REFERENCE}")
    return f"{files}/{REFERENCE}"


def _write_reference(run: Run, rows: pa.Table, name: str) -> None:
    draw = np.random.default_rng(run.config.seed)
    taken = np.sort(draw.choice(rows.num_rows, min(rows.num_rows, REFERENCE_SAMPLE), replace=False))
    run.store.write_table(name, rows.take(pa.array(taken)))


def _write_recent(run: Run, files: str, recent: pa.Table | None, judged: Judged) -> None:
    if recent is None:
        recent = run.store.read_table(judged.reference).slice(0, 0)
    run.store.write_table(f"{files}/{RECENT}", recent)
