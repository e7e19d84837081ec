"""A later query where people look for it: for annotators, for programs, and as a page.

All of it follows from what is published, so whoever was killed before can be made up for.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.archive.changes import key_of_samples
from pipeline.artifacts import Int64, Uint8
from pipeline.config import this_run
from pipeline.report.night import SHOWN, Issued, NightData, PastNight, render_night
from pipeline.results import CLUSTERS, HANDED_OUT, PAGE, SAMPLES, Night
from pipeline.run import Run
from pipeline.stages.archive import FIRST, ArchiveReader, Known, known, nights
from pipeline.stages.bundle import SHOWN as SHEET_SHOWN
from pipeline.stages.bundle import write_bundle
from pipeline.stages.tables import table_csv


def hand_over(run: Run, night: Night) -> None:
    """Write the newest query's files, unless they are there."""
    store, folder = run.store, night.query_folder
    if night.query == FIRST or store.is_file(f"{folder}/{PAGE}"):
        return
    query = store.read_table(night.last_order, between=("rank", 1, night.last_issued)).sort_by("rank")
    after = known(run)
    images = ArchiveReader(store, night.generations).images(np.asarray(query["sample_id"])[:SHEET_SHOWN])
    write_bundle(run, folder, night.query, query, images, after.pool)
    store.write_bytes(f"{folder}/{HANDED_OUT}", table_csv(("key", "query"), _handed_out(after)))
    store.write_bytes(f"{folder}/{PAGE}", render_night(_page(run, night, after, query, images[:SHOWN])).encode())


def _handed_out(after: Known) -> list[tuple[str, str]]:
    """(key, query) of all that was ever handed out: for who starts anew, with --labelled."""
    keys = key_of_samples(after.files, after.issued["sample_id"].to_pylist())
    return list(zip(keys, map(str, after.issued["query"].to_pylist()), strict=True))


def _page(run: Run, night: Night, after: Known, query: pa.Table, images: Uint8) -> NightData:
    ids = np.asarray(query["sample_id"], np.int64)
    of_query = after.issued.filter(pc.field("query") == night.query).sort_by("rank")
    lost = [each for each in of_query["replaces"].to_pylist() if each is not None]
    key_of_lost = dict(zip(lost, key_of_samples(after.files, lost), strict=True))
    since = _night_of(run, after, ids)
    issued = [
        Issued(rank, key, cluster, int(came), None if replaced is None else key_of_lost[replaced])
        for rank, key, cluster, came, replaced in zip(
            *(query[name].to_pylist() for name in ("rank", "key", "cluster")),
            since,
            of_query["replaces"].to_pylist(),
            strict=True,
        )
    ]
    return NightData(
        run=run.config.run,
        number=night.number,
        query=night.query,
        issued=issued,
        images=images,
        totals=night.totals,
        counts=night.counts,
        held=night.held,
        order=night.order,
        churn=night.churn,
        verdict=night.verdict,
        shares=[] if night.verdict is None or night.verdict["done"] else _shares(run, night, after),
        past=[_first(after), *(_past(each) for each in nights(run.store, run.config.run))],
        command=f"hacon labels --from FILE {this_run(run.config)}",
    )


def _night_of(run: Run, after: Known, ids: Int64) -> NDArray[np.int32]:
    night = np.full(after.size, FIRST, np.int32)
    for part in after.parts:
        table = run.store.read_table(f"{part}/{SAMPLES}", columns=["sample_id", "night"])
        night[np.asarray(table["sample_id"])] = np.asarray(table["night"])
    return night[ids]


def _shares(run: Run, night: Night, after: Known) -> list[tuple[int, float, float]]:
    first = np.asarray(run.store.read_table(f"{night.clusters}/{CLUSTERS}", columns=["cluster"])["cluster"])
    tables = [run.store.read_table(f"{part}/{SAMPLES}", columns=["sample_id", "cluster"]) for part in after.parts]
    table = pa.concat_tables(tables).filter(pc.field("sample_id") >= night.clustered)
    since = np.asarray(table["cluster"])
    k = int(max(first.max(), since.max(initial=0))) + 1
    shares = (np.bincount(each, minlength=k) / max(1, len(each)) for each in (first, since))
    return [(cluster, float(one), float(other)) for cluster, (one, other) in enumerate(zip(*shares, strict=True))]


def _first(after: Known) -> PastNight:
    first = after.queried
    return PastNight(FIRST, "", after.pool.size, after.pool.size, FIRST, first.budget, 0, first.budget, None, None)


def _past(night: Night) -> PastNight:
    new = night.counts.get("new", 0) + night.counts.get("changed", 0)
    verdict = None if night.verdict is None else str(night.verdict["name"])
    return PastNight(
        night.number,
        night.at.replace("T", " ").removesuffix("+00:00"),
        night.held,
        new,
        night.query if night.issued else None,
        night.issued,
        night.totals["labelled"],
        night.totals["open"],
        night.churn,
        verdict,
    )
