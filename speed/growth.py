"""How time and memory of the stages grow with the pool: ingest, embed, cluster, query, report.

The stages as the jobs run them, on an embedded Ray, on pools of 28 x 28 x 3 noise from an .npz: 10,000, 100,000
and a million images. Two things are not theirs. The encoder is two convolutions (tests/tiny.py), put in place of
ResNet-18 by a subclass of the embedder's, since a ResNet's hours would hide everything else. And
training, whose time is its draws, is left out: a table of random confidences takes its place.

Every stage is judged by itself: by the exponent of seconds less the stage's start over images less those of the start,
over both decades together and over the last one alone (the first is listed too: of most stages it says little, since
what 10,000 images take is nearly all start). The start (Ray's workers, UMAP of 5,000 points) is what a pool of 6,000
images takes, the fastest of some; half of them are at most their median slower, and a growth that is less than that
cannot be told from none. A sort makes N log N: 1.08 over a decade. K-means starts from a sample above 100,000 images,
and needs more iterations for more images below: its first decade is steeper than N, its last one shallower. So it is
judged from 400,000 images to a million too, less what 100,001 take, the way that all larger pools go.

The query and K-means of large pools take a second or two, and a machine that is slower in one minute than in another
would say more of itself than of them: their sizes take turns, and each one's fastest counts.

Memory is what a process has for itself (RssAnon), sampled five times a second, of the driver fifty times; Ray's object
store is shared memory with its own limit, apart. Of each stage it is judged by what docs/scale.md states of it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import statistics
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.artifacts import CONFIDENCE_SCHEMA, PoolManifest
from pipeline.config import IngestConfig, QueryConfig, RunConfig
from pipeline.on_ray.write_features import _EmbedImages
from pipeline.progress import silent
from pipeline.results import Clustered, Embedded, Trained
from pipeline.run import Run
from pipeline.storage import open_store
from speed.measure import Row, alternate, in_a_process_of_its_own
from speed.scale_plan import QUERY_BYTES, RECEIPT_BYTES, SETTLE_BYTES

STAGES = ("ingest", "embed", "cluster", "query", "report")
TEMPERATURES = (0.2, 0.05, 0.01, 0.001)
DIMENSIONS = 32
"""Of tests/tiny.py's features."""
CHUNK = 10_000
ROUNDS = 10
"""Of what takes a second or two."""
STATED = {
    # The cluster stage of one machine runs in the driver: features once, labels and distances.
    ("driver", "cluster"): 4 * DIMENSIONS + 40,
    ("driver", "query"): QUERY_BYTES,
    ("driver", "report"): QUERY_BYTES,
    # Receipts, hashed for duplicates and sorted, in the one task that settles ids; and the ids' positions.
    ("largest worker", "ingest"): SETTLE_BYTES,
    ("object store", "ingest"): RECEIPT_BYTES + 8,
}
"""Bytes a sample of (who, stage). All others hold nothing that grows: what idle workers and Ray's store keep from
ingest is theirs."""
FLAT_BYTES = 16
"""Bytes a sample that an allocator's moods can make of nothing, over the last decade: 14 MiB."""


def measure(
    sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000), start: int = 6_000, starts: int = 5, sampled: int = 400_000
) -> Row:
    least = RunConfig().cluster.sample_above + 1
    with tempfile.TemporaryDirectory(dir=os.environ.get("HACON_SCRATCH")) as scratch:
        at_start = [_ran(f"{scratch}/start-{turn}", start) for turn in range(starts)]
        ran = {size: _ran(f"{scratch}/{size}", size) for size in (*sizes, least, sampled)}
        query, _, _ = in_a_process_of_its_own(in_turns, "query", [at_start[-1], *(ran[size] for size in sizes)])
        large, _, _ = in_a_process_of_its_own(in_turns, "cluster", [ran[size] for size in (least, sampled, sizes[-1])])
    details, exponents = [], {}
    for stage in STAGES:
        fixed = [min(query[start])] if stage == "query" else [each.found[stage]["seconds"] for each in at_start]
        seconds = {size: min(query[size]) if stage == "query" else ran[size].found[stage]["seconds"] for size in sizes}
        steps = [(sizes[0], sizes[-1]), (sizes[0], sizes[1]), (sizes[-2], sizes[-1])]
        whole, first, last = (growth(start, fixed, step, [seconds[size] for size in step]) for step in steps)
        exponents[stage] = max((each for each in (whole, last) if each is not None), default=None)
        each = ", ".join(f"{value:.3g}" for value in seconds.values())
        spread = f"{min(fixed):.3g} to {max(fixed):.3g} s of it start"
        details.append(
            (stage, f"{each} s, {spread}; exponent {_words(whole)}, by decade {_words(first)}, {_words(last)}")
        )
    # Its own start, a sample of the same size in all of them, is what the smallest such pool takes.
    fewest, between, most = (min(each) for each in large.values())
    exponents["cluster of large pools"] = growth(least, [fewest], (sampled, sizes[-1]), [between, most])
    details.append(
        (
            f"cluster of {least:,}, {sampled:,} and {sizes[-1]:,} images in turns",
            f"{fewest:.2f}, {between:.2f}, {most:.2f} s; exponent from the second to the third, less the first, "
            f"{_words(exponents['cluster of large pools'])}",
        )
    )
    grown, as_stated = {}, True
    for who in ("driver", "largest worker", "object store"):
        for stage in STAGES:
            peaks = [ran[size].found[stage][who] for size in sizes]
            bytes_a_sample = (peaks[-1] - peaks[-2]) / (sizes[-1] - sizes[-2])
            stated = STATED.get((who, stage), 0)
            own = stated > 0 or who == "driver"
            if own:
                grown[f"{who}, {stage}"] = bytes_a_sample
                as_stated = as_stated and bytes_a_sample <= stated + FLAT_BYTES
            each = ", ".join(f"{peak / 2**20:,.0f}" for peak in peaks)
            words = f"; last step {bytes_a_sample:,.0f} bytes a sample, stated {stated}" if own else ""
            details.append((f"memory of the {who}, {stage}", f"{each} MiB{words}"))
    worst = max(exponents, key=lambda stage: exponents[stage] or 0)
    most = max(grown, key=lambda what: grown[what])
    return Row(
        f"growth from {sizes[0]:,} to {sizes[-1]:,} images, of each stage less its start",
        f"exponent {_words(exponents[worst])} ({worst}, the largest of {len(exponents)}); {most} "
        f"{grown[most]:,.0f} bytes a sample, {'all as stated' if as_stated else '**not all as stated**'}",
        "exponent <= 1.05 in every stage; memory flat but for the stated sums",
        (exponents[worst] or 0) <= 1.05 and as_stated,
        details,
    )


def growth(start: int, fixed: list[float], sizes: tuple[int, ...], seconds: list[float]) -> float | None:
    """Exponent of the seconds that come with images, from the first of two sizes to the second.

    Args:
        start: a size, and ``fixed`` what some runs of it took.

    Returns:
        None where even the second size's cannot be told from what a start takes more or less.
    """
    fastest = min(fixed)
    noise = max(statistics.median(fixed) - fastest, 1e-3)
    first, second = (max(value - fastest, noise) for value in seconds)
    if second == noise:
        return None
    return float(np.log(second / first) / np.log((sizes[1] - start) / (sizes[0] - start)))


def _words(exponent: float | None) -> str:
    return "not told from its start's noise" if exponent is None else f"{exponent:.2f}"


@dataclass(frozen=True)
class Ran:
    """A pool that all stages have run on, and what they left for others to run again."""

    size: int
    config: RunConfig
    pool: PoolManifest
    trained: Trained
    embedded: Embedded
    clustered: Clustered
    found: dict[str, dict[str, float]]
    """Seconds and peaks by stage."""


def _ran(folder: str, size: int) -> Ran:
    in_a_process_of_its_own(prepare, folder, size)
    ran, _, _ = in_a_process_of_its_own(run, folder, size)
    Path(folder, "pool.npz").unlink()
    return ran


def prepare(folder: str, size: int) -> None:
    """The .npz, and what a training would have left: weights and a confidence table."""
    from safetensors.torch import save

    from pipeline.moco.model import build_encoder
    from pipeline.results import CONFIDENCE, HISTORY, WEIGHTS

    os.makedirs(folder)
    with (
        zipfile.ZipFile(f"{folder}/pool.npz", "w") as archive,
        archive.open("train_images.npy", "w", force_zip64=True) as stream,
    ):
        header = {"descr": "|u1", "fortran_order": False, "shape": (size, 28, 28, 3)}
        np.lib.format.write_array_header_1_0(stream, header)
        for start in range(0, size, CHUNK):
            rng = np.random.default_rng([0, start])
            stream.write(rng.integers(0, 32, (min(CHUNK, size - start), 28, 28, 3), np.uint8).tobytes())
    use_tiny()
    store = open_store(f"{folder}/store")
    weights = build_encoder("resnet18", projection_dim=16).state_dict()
    store.write_bytes(f"trained/{WEIGHTS}", save({name: each.contiguous() for name, each in weights.items()}))
    store.write_json(f"trained/{HISTORY}", [{"epoch": 1, "loss": 1.0, "learning_rate": 0.1, "seconds": 1.0}])
    rng, ids, ones = np.random.default_rng(1), np.arange(size), np.ones(size, np.int64)
    tables = [
        pa.table([ids, np.full(size, each), ones, rng.random(size), ones * 0.1, ones * 0.1], schema=CONFIDENCE_SCHEMA)
        for each in TEMPERATURES
    ]
    store.write_table(f"trained/{CONFIDENCE}", pa.concat_tables(tables))


def run(folder: str, size: int) -> Ran:
    """Every stage once."""
    from pipeline.on_ray import write_features
    from pipeline.on_ray.session import ray_session
    from pipeline.stages.cluster import cluster
    from pipeline.stages.embed import embed
    from pipeline.stages.ingest import ingest
    from pipeline.stages.query import query
    from pipeline.stages.report import report

    write_features._EmbedImages = TinyEmbedImages  # type: ignore[assignment, misc]
    store = open_store(f"{folder}/store")
    config = RunConfig(
        run="growth",
        store=f"{folder}/store",
        ingest=IngestConfig(source=f"npz:{folder}/pool.npz"),
        query=QueryConfig(budget=200),
    )
    trained = Trained(
        folder="trained", files="trained", arch="resnet18", dimensions=DIMENSIONS, weights="tiny", fingerprint="tiny",
        loss=1.0, fitted={}, notes=[],
    )  # fmt: skip
    job = Run(config, store, silent)
    found: dict[str, dict[str, float]] = {}
    with ray_session(silent):
        with watched("ingest", found):
            pool = ingest(job)
        assert pool.size == size
        with watched("embed", found):
            embedded = embed(job, pool, trained)
        with watched("cluster", found):
            clustered = cluster(job, embedded)
        with watched("query", found):
            queried = query(job, pool, trained, embedded, clustered)
        with watched("report", found):
            report(job, pool, trained, embedded, clustered, queried)
    return Ran(size, config, pool, trained, embedded, clustered, found)


def in_turns(stage: str, all_of: list[Ran]) -> dict[int, list[float]]:
    """Seconds of every round of the stage, by size."""
    from pipeline.on_ray.session import ray_session
    from pipeline.stages.cluster import cluster
    from pipeline.stages.query import query

    runs = itertools.count()

    def again(ran: Ran) -> None:
        config = replace(ran.config, run=f"again-{next(runs)}")
        job = Run(config, open_store(config.store), silent)
        if stage == "query":
            query(job, ran.pool, ran.trained, ran.embedded, ran.clustered)
        else:
            cluster(job, ran.embedded)

    with ray_session(silent):
        seconds = alternate({str(ran.size): partial(again, ran) for ran in all_of}, ROUNDS)
    return {int(size): each for size, each in seconds.items()}


class TinyEmbedImages(_EmbedImages):
    """The embedder, with an encoder of a few thousand weights."""

    def __init__(self, *arguments: Any) -> None:
        use_tiny()
        super().__init__(*arguments)


def use_tiny() -> None:
    """In place of ResNet-18, in this process."""
    from pipeline.moco import model
    from tests.tiny import TinyNet

    model.BACKBONES["resnet18"] = TinyNet


@contextlib.contextmanager
def watched(stage: str, found: dict[str, dict[str, float]]) -> Iterator[None]:
    """Seconds of the block, and the peaks of this process, of the largest Ray worker and of the object store."""
    peaks = {"driver": 0, "largest worker": 0, "object store": 0}
    over = threading.Event()

    def look(processes: Iterable[int]) -> None:
        for process in processes:
            own, shared = _memory(process)
            who = "driver" if process == os.getpid() else "largest worker"
            peaks[who] = max(peaks[who], own)
            peaks["object store"] = max(peaks["object store"], shared)

    def watch() -> None:
        turns = itertools.count()
        while not over.wait(0.02):
            look([os.getpid()] if next(turns) % 10 else _tree(os.getpid()))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - began
        over.set()
        watcher.join()
        look(_tree(os.getpid()))  # a short stage may not have been seen at all
        found[stage] = {**peaks, "seconds": seconds}


def _tree(root: int) -> list[int]:
    """This process and all below it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    tree = [root]
    for process in tree:
        tree += [child for child, parent in parents.items() if parent == process]
    return tree


def _memory(process: int) -> tuple[int, int]:
    """Bytes of its own, and of memory that it shares."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        found = {line.partition(":")[0]: line.split() for line in lines if line.startswith("Rss")}
        if found:
            return int(found["RssAnon"][1]) * 1024, int(found["RssShmem"][1]) * 1024
    return 0, 0
