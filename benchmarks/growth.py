"""How time and memory of the stages grow with the pool: ingest, embed, cluster, query, report.

The stages as the jobs run them, on an embedded Ray, on pools of 28 x 28 x 3 noise from an .npz: 10,000, 100,000
and a million images. Two things are not theirs. The encoder is two convolutions (tests/tiny.py), put in place of
ResNet-18 inside the embedding actors by a subclass of theirs, since a ResNet's hours would hide everything else. And
training, whose time is its draws, is left out: a table of random confidences takes its place.

Every stage is judged by itself, by its growth over the last decade: the exponent of seconds less the stage's start
over images less those of the start. The start (Ray's workers, UMAP of 5,000 points) is what a pool of 6,000 images
takes, the fastest of three; a growth that is smaller than the spread of those three is noise, and counts as large as
that. Of the query, a tenth of a second at the first of the two sizes, it is the fastest of three everywhere. A sort
makes N log N: 1.08 over this decade. The sum of all stages would hide one of them behind the report. K-means starts
from a sample above 100,000 images, so that its last step is less than that of either way alone. Memory is what a
process has for itself (RssAnon), sampled five times a second; Ray's object store is shared memory with its own limit,
apart.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.measure import Row, in_a_process_of_its_own
from benchmarks.scale_plan import QUERY_BYTES, SETTLE_BYTES
from pipeline.artifacts import CONFIDENCE_SCHEMA
from pipeline.config import IngestConfig, QueryConfig, RunConfig
from pipeline.on_ray.embed import _EmbedImages
from pipeline.storage import open_store

STAGES = ("ingest", "embed", "cluster", "query", "report")
TEMPERATURES = (0.2, 0.05, 0.01, 0.001)
DIMENSIONS = 32
"""Of tests/tiny.py's features."""
CHUNK = 10_000
QUERIES = 3
DRIVER_BYTES = 4 * DIMENSIONS + 40 + QUERY_BYTES
"""A sample, stated: features once (the cluster stage of one machine runs in the driver) with labels and distances, and
the query's columns."""
WORKER_BYTES = SETTLE_BYTES
"""A sample, stated: ingest's receipts, hashed for duplicates and sorted, in the one task that settles ids."""


def measure(sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000), start: int = 6_000, starts: int = 3) -> Row:
    at_start = [_found(start) for _ in range(starts)]
    found = {size: _found(size) for size in sizes}
    details, exponents = [], {}
    for stage in STAGES:
        fixed = [each[stage]["seconds"] for each in at_start]
        seconds = [found[size][stage]["seconds"] for size in sizes]
        exponents[stage] = growth(start, fixed, sizes[-2:], seconds[-2:])
        each = ", ".join(f"{value:.2f}" for value in seconds)
        spread = f"{min(fixed):.2f} to {max(fixed):.2f} s of it start"
        details.append((stage, f"{each} s, {spread}; exponent of the last step {exponents[stage]:.2f}"))
    bytes_a_sample = {}
    for who in ("driver", "largest worker", "object store"):
        peaks = [max(found[size][stage][who] for stage in STAGES) for size in sizes]
        bytes_a_sample[who] = (peaks[-1] - peaks[-2]) / (sizes[-1] - sizes[-2])
        each = ", ".join(f"{peak / 2**20:,.0f}" for peak in peaks)
        details.append((f"memory of the {who}", f"{each} MiB; last step {bytes_a_sample[who]:,.0f} bytes a sample"))
        for stage in STAGES:
            each = ", ".join(f"{found[size][stage][who] / 2**20:,.0f}" for size in sizes)
            details.append((f"memory of the {who}, {stage}", f"{each} MiB"))
    details.append(("stated", f"{DRIVER_BYTES} bytes a sample in the driver, {WORKER_BYTES} in the largest worker"))
    worst = max(exponents, key=lambda stage: exponents[stage])
    return Row(
        f"growth from {sizes[-2]:,} to {sizes[-1]:,} images, of each stage less its start",
        f"exponent {exponents[worst]:.2f} ({worst}, the largest of {len(STAGES)}); driver "
        f"{bytes_a_sample['driver']:,.0f}, largest worker {bytes_a_sample['largest worker']:,.0f} bytes a sample",
        "exponent <= 1.05 in every stage; memory flat but for the stated sums",
        exponents[worst] <= 1.05
        and bytes_a_sample["driver"] <= DRIVER_BYTES
        and bytes_a_sample["largest worker"] <= WORKER_BYTES,
        details,
    )


def growth(start: int, fixed: list[float], sizes: tuple[int, ...], seconds: list[float]) -> float:
    """Exponent of the seconds that come with images, from the first of two sizes to the second.

    Args:
        start: a size, and ``fixed`` what some runs of it took.
    """
    noise = max(max(fixed) - min(fixed), 1e-3)
    first, second = (max(value - min(fixed), noise) for value in seconds)
    return float(np.log(second / first) / np.log((sizes[1] - start) / (sizes[0] - start)))


def _found(size: int) -> dict[str, dict[str, float]]:
    """Seconds and peaks by stage, on a pool made for it."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("HACON_SCRATCH")) as folder:
        in_a_process_of_its_own(prepare, folder, size)
        found, _, _ = in_a_process_of_its_own(run, folder, size)
    return found


def prepare(folder: str, size: int) -> None:
    """The .npz, and what a training would have left: weights and a confidence table."""
    from safetensors.torch import save

    from pipeline.moco.model import build_encoder
    from pipeline.on_ray.plan import CONFIDENCE, HISTORY, WEIGHTS

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


def run(folder: str, size: int) -> dict[str, dict[str, float]]:
    """Seconds and memory peaks of each stage."""
    from pipeline.on_ray import embed
    from pipeline.on_ray.cluster import run_cluster
    from pipeline.on_ray.ingest import ingest
    from pipeline.on_ray.query import run_query
    from pipeline.on_ray.report import run_report
    from pipeline.on_ray.session import ray_session

    embed._EmbedImages = TinyEmbedImages  # type: ignore[assignment, misc]
    store = open_store(f"{folder}/store")
    config = RunConfig(
        run="growth",
        store=f"{folder}/store",
        ingest=IngestConfig(source=f"npz:{folder}/pool.npz"),
        query=QueryConfig(budget=200),
    )
    trained = {
        "folder": "trained",
        "files": "trained",
        "arch": "resnet18",
        "dimensions": DIMENSIONS,
        "weights": "tiny",
        "fingerprint": "tiny",
        "seconds": 0.0,
        "notes": [],
    }
    found: dict[str, dict[str, float]] = {}
    with ray_session(_quiet):
        with watched("ingest", found):
            pool = ingest(config, store, _quiet)
        assert pool.size == size
        with watched("embed", found):
            embedded = embed.run_embed(config, store, pool, trained, _quiet)
        with watched("cluster", found):
            clustered = run_cluster(config, store, embedded, _quiet)
        results = {"pretrain": trained, "embeddings": embedded, "clusters": clustered}
        queries = []
        for number in range(QUERIES):
            with watched("query", found):
                results["query"] = run_query(replace(config, run=f"query-{number}"), store, pool, results, _quiet)
            queries.append(found["query"])
        # The fastest one's seconds, and of all of them the most memory.
        found["query"] = {what: max(each[what] for each in queries) for what in found["query"]}
        found["query"]["seconds"] = min(each["seconds"] for each in queries)
        with watched("report", found):
            run_report(config, store, pool, results, _quiet)
    shutil.rmtree(f"{folder}/store")
    return found


class TinyEmbedImages(_EmbedImages):
    """The actor, with an encoder of a few thousand weights."""

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

    def look() -> None:
        for process in _tree(os.getpid()):
            own, shared = _memory(process)
            who = "driver" if process == os.getpid() else "largest worker"
            peaks[who] = max(peaks[who], own)
            peaks["object store"] = max(peaks["object store"], shared)

    def watch() -> None:
        while not over.wait(0.2):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds = time.perf_counter() - began
        over.set()
        watcher.join()
        look()  # a short stage may not have been seen at all
        found[stage] = {"seconds": seconds, **peaks}


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


def _quiet(_: str) -> None:
    pass
