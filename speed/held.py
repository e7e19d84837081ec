"""What single stages hold, beside what docs/scale.md states: each in a process of its own, at a size that shows it.

Pools here have images of one pixel and random confidences and features: what is in them does not change what they take.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import torch

from pipeline.artifacts import (
    CLUSTER_SCHEMA,
    CONFIDENCE_SCHEMA,
    Float32,
    PoolFiles,
    PoolManifest,
    embedding_schema,
    image_column,
    pool_schema,
)
from pipeline.data.staging import Sizes
from pipeline.machine import cores
from pipeline.storage import Location
from speed.measure import Row, in_a_process_of_its_own
from speed.scale_plan import POOL_WRITER_SHARE, SIZES, WRITER_SHARE, Plan

TEMPERATURES = (0.2, 0.05, 0.01, 0.001)
CLUSTERS = 30
DIMENSIONS = 2048
SHAPE = (1, 1, 1)
POOL_SHAPE = (28, 28, 3)
FILE_ROWS = 16_384
MIB = 1 << 20


def measure(columns: tuple[int, int] = (500_000, 2_000_000), vectors: int = 80_000, file_rows: int = 65_536) -> Row:
    with tempfile.TemporaryDirectory(dir=os.environ.get("HACON_SCRATCH")) as folder:
        queries = [_query_peak(f"{folder}/{size}", size) for size in columns]
        listings = [in_a_process_of_its_own(list_folder, size) for size in columns]
        settlings = [in_a_process_of_its_own(settle, size) for size in columns]
        tabling = [in_a_process_of_its_own(tabulate, f"{folder}/table", size)[0] for size in columns]
        in_a_process_of_its_own(write_features, f"{folder}/features.npy", vectors)
        (rows_a_second, drawn, start), _, clustering = in_a_process_of_its_own(
            cluster, f"{folder}/features.npy", vectors
        )
        _, _, writing = in_a_process_of_its_own(write_file, f"{folder}/written", file_rows)
        sizes = Sizes.of(POOL_SHAPE, rows_per_file=10**6)
        in_a_process_of_its_own(stage_pieces, f"{folder}/pool", sizes)
        _, _, pool_writing = in_a_process_of_its_own(write_pool, f"{folder}/pool", sizes)
    plan = Plan(columns[-1], 28)
    held = Plan(SIZES[0], 28, cores=cores()).cluster_bytes - 40 * (SIZES[0] - vectors)
    of_file = 4 * DIMENSIONS * file_rows
    found = {
        "query, bytes a sample": (_slope(queries, columns), plan.query_bytes / plan.images),
        "ingest while a folder is listed, bytes a sample": (
            _slope([peak for _, _, peak in listings], columns),
            plan.survey_bytes / plan.images,
        ),
        "that list, for whoever reads the folder, bytes a sample": (
            listings[0][0][0],
            plan.listing_bytes / plan.images,
        ),
        "ingest's receipts, bytes a sample": (settlings[0][0][0], plan.receipt_bytes / plan.images),
        "ingest while ids are settled, bytes a sample": (
            _slope([peak for _, _, peak in settlings], columns),
            plan.settle_bytes / plan.images,
        ),
        f"K-means of {vectors:,} x {DIMENSIONS} as a stream, K = {CLUSTERS}, MiB": (clustering / MIB, held / MIB),
        f"who writes {file_rows:,} x {DIMENSIONS} features, their bytes times": (
            writing / of_file,
            WRITER_SHARE,
        ),
        f"who writes a pool file of {sizes.file:,} images of 28 px, their bytes times": (
            pool_writing / (sizes.file * math.prod(POOL_SHAPE)),
            POOL_WRITER_SHARE,
        ),
    }
    details = [(what, f"{value:,.1f}, stated {stated:,.1f}") for what, (value, stated) in found.items()]
    peaks = ", ".join(f"{size:,} samples {peak / MIB:,.0f} MiB" for size, peak in zip(columns, tabling, strict=True))
    details += [
        (f"CPU seconds to {what} {columns[1]:,}", f"{outcomes[1][0][1]:.1f}")
        for what, outcomes in (("make, sort and hash a list of", listings), ("settle the ids of", settlings))
    ]
    details += [
        (f"rows a CPU second in a pass of K-means, K = {CLUSTERS}, D = {DIMENSIONS}", f"{rows_a_second:,.0f}"),
        ("rows a CPU second in the pass that draws its sample", f"{drawn:,.0f}"),
        ("its start on a sample, CPU seconds", f"{start:.0f}"),
        ("writing the confidence table holds beside the sums", peaks),
    ]
    over = max(value / stated for value, stated in found.values())
    return Row(
        "what stages hold, of what docs/scale.md states",
        f"{over:.2f} times, the largest of {len(found)}",
        "<= 1.1",
        over <= 1.1,
        details,
    )


def _slope(peaks: list[int], sizes: tuple[int, int]) -> float:
    """Bytes a sample by which a peak grows from one size to the next: what does not grow is left out."""
    return (peaks[1] - peaks[0]) / (sizes[1] - sizes[0])


# ---- query --------------------------------------------------------------------------------


def _query_peak(folder: str, size: int) -> int:
    in_a_process_of_its_own(write_columns, folder, size)
    return in_a_process_of_its_own(query, folder, size)[2]


def write_columns(folder: str, size: int) -> None:
    """What the query reads: a pool's keys, clusters, confidences."""
    from pipeline.results import CENTROIDS, CONFIDENCE
    from pipeline.results import CLUSTERS as CLUSTERS_FILE

    store, rng, ids = Location(folder), np.random.default_rng(0), np.arange(size)
    for start in range(0, size, FILE_ROWS):
        part = ids[start : start + FILE_ROWS]
        keys = [f"scans/{number:012d}.png" for number in part]
        pixels = image_column(np.zeros((len(part), *SHAPE), np.uint8))
        table = pa.table([part, keys, [bytes(32)] * len(part), pixels], schema=pool_schema(*SHAPE))
        store.write_table(f"pool/train/{start:012d}.parquet", table)
    labels = rng.integers(0, CLUSTERS, size, np.int32)
    store.write_table(
        f"clusters/{CLUSTERS_FILE}", pa.table([ids, labels, rng.random(size, np.float32)], schema=CLUSTER_SCHEMA)
    )
    store.write_table(f"clusters/{CENTROIDS}", pa.table({"centroid": [[0.0, 1.0]] * CLUSTERS}))
    ones = np.ones(size, np.int64)
    columns = (
        [ids, np.full(size, each), ones, rng.random(size), rng.random(size), ones * 0.1] for each in TEMPERATURES
    )
    tables = (pa.table(each, schema=CONFIDENCE_SCHEMA) for each in columns)
    store.write_tables(f"trained/{CONFIDENCE}", CONFIDENCE_SCHEMA, tables)


def query(folder: str, size: int) -> None:
    """The order of all of the pool, keys and all, as the job writes it."""
    from pipeline.config import QueryConfig, RunConfig
    from pipeline.progress import silent
    from pipeline.results import Clustered, Embedded, Trained
    from pipeline.run import Run
    from pipeline.stages.query import query as query_stage

    trained = Trained(files="trained", weights="w", dimensions=2, arch="resnet18", loss=1.0, fitted={}, notes=[])
    embedded = Embedded(files="embeddings", size=size, dimensions=2)
    clustered = Clustered(files="clusters", k=CLUSTERS, inertia=1.0, backend="sklearn", reason="", seed=0)
    pool = PoolManifest("p", "test", "pool", size, *SHAPE, {"train": size}, None, 0, 0, "")
    config = RunConfig(query=QueryConfig(budget=200))
    query_stage(Run(config, Location(folder), silent), pool, trained, embedded, clustered)


# ---- ingest -------------------------------------------------------------------------------


def list_folder(size: int) -> tuple[float, float]:
    """What the task that lists a folder does; bytes a sample of the list, and CPU seconds."""
    from pipeline.data.listing import list_images

    class Archive(Location):
        """Of files with names of 22 letters."""

        def walk(self, name: str = "", *_: Any, **__: Any) -> Iterator[tuple[str, int, int]]:
            yield from ((f"scans/{number:012d}.jpg", 50_000, number) for number in range(size))

    began = time.process_time()
    table = list_images(Archive("archive")).table
    return table.nbytes / size, time.process_time() - began


def _receipts(size: int, each: int = 10_000) -> Iterator[pa.Table]:
    """One image in a hundred is there twice."""
    from pipeline.data.staging import RECEIPT_SCHEMA

    rng = np.random.default_rng(0)
    for start in range(0, size, each):
        count = min(each, size - start)
        digest = rng.integers(0, 256, (count, 32), np.uint8)
        digest[: count // 100] = digest[count // 100 : 2 * (count // 100)]
        digests = pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), count, [None, pa.py_buffer(digest)])
        columns = [pa.array(["train"] * count), np.arange(start, start + count), digests, pa.nulls(count, pa.string())]
        yield pa.table([*columns, np.zeros(count, bool)], schema=RECEIPT_SCHEMA)


def settle(size: int) -> tuple[float, float]:
    """What the task that assigns ids does with the receipts; their bytes a sample, and CPU seconds."""
    from pipeline.data.staging import accepted, pool_fingerprint, rejected, repeated

    receipts = pa.concat_tables(_receipts(size))
    began = time.process_time()
    rejected(receipts)
    samples = accepted(receipts, "train")
    assert samples.num_rows == size - repeated(receipts).num_rows
    pool_fingerprint(samples, (28, 28, 3))
    return receipts.nbytes / size, time.process_time() - began


def stage_pieces(folder: str, sizes: Sizes) -> None:
    """As many pieces as a pool file of 128 MiB is made of, of noise, which does not compress."""
    from pipeline.data.sources import Decoded
    from pipeline.data.staging import stage

    for start in range(0, sizes.file, sizes.staged):
        position = np.arange(start, min(start + sizes.staged, sizes.file))
        images = np.random.default_rng(start).integers(0, 256, (len(position), *POOL_SHAPE), np.uint8)
        piece = Decoded(position, [str(each) for each in position], [bytes(32)] * len(position), images)
        stage(Location(folder), PoolFiles("pool"), "train", piece, sizes.staged, POOL_SHAPE)


def write_pool(folder: str, sizes: Sizes) -> None:
    """That file of them."""
    from pipeline.data.staging import write_pool_file

    positions = pa.chunked_array([np.arange(sizes.file)])
    write_pool_file(Location(folder), PoolFiles("pool"), "train", positions, 0, sizes, POOL_SHAPE)


# ---- pretrain -----------------------------------------------------------------------------


def tabulate(folder: str, size: int) -> int:
    """Bytes by which the peak grows while the first worker writes the table of sums that are all in use."""
    from pipeline.moco.confidence import ConfidenceAccumulator
    from speed.measure import peak_bytes

    sums = ConfidenceAccumulator(size, TEMPERATURES, repeats=1)
    for tensor in sums.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape) * 9)
    before = peak_bytes()
    Location(folder).write_tables("table.parquet", CONFIDENCE_SCHEMA, sums.tables())
    return peak_bytes() - before


# ---- embed and cluster --------------------------------------------------------------------


def write_features(file: str, rows: int) -> None:
    """(rows, D) around some centres, on the unit sphere."""
    features = np.lib.format.open_memmap(file, "w+", np.float32, (rows, DIMENSIONS))
    centres = np.random.default_rng(0).normal(size=(CLUSTERS, DIMENSIONS)).astype(np.float32)
    for start in range(0, rows, 8192):
        rng = np.random.default_rng([1, start])
        part = features[start : start + 8192]
        part[:] = centres[rng.integers(0, CLUSTERS, len(part))] + 2 * rng.standard_normal(part.shape, np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)


def cluster(file: str, rows: int) -> tuple[float, float, float]:
    """K-means as of a stream too large to hold, each chunk read anew.

    Returns:
        Rows a CPU second in its passes, and in the one that draws a sample; CPU seconds of the start on that, which do
        not grow.
    """
    from pipeline.cluster import kmeans_stream, sklearn_backend
    from pipeline.on_ray.read_features import CHUNK_BYTES

    at_once, passes = CHUNK_BYTES // (4 * DIMENSIONS), 0

    def chunks() -> Iterator[Float32]:
        nonlocal passes
        passes += 1
        for start in range(0, rows, at_once):
            offset = Path(file).stat().st_size - 4 * DIMENSIONS * (rows - start)
            count = min(at_once, rows - start)
            yield np.fromfile(file, np.float32, count * DIMENSIONS, offset=offset).reshape(count, DIMENSIONS)

    start, clock = sklearn_backend.start_of_sample, [time.process_time()]

    def timed(*arguments: Any) -> Float32:
        clock.append(time.process_time())
        found = start(*arguments)
        clock.append(time.process_time())
        return found

    with patch("pipeline.cluster.sklearn_backend.start_of_sample", timed):
        kmeans_stream(chunks, CLUSTERS, seed=0)
    began, before, after = clock
    return (passes - 1) * rows / (time.process_time() - after), rows / (before - began), after - before


def write_file(folder: str, rows: int) -> None:
    """One file of features as the embedder's batches fill it."""
    from pipeline.on_ray.write_features import _gathered, _write

    def batches() -> Iterator[pa.Table]:
        for start in range(0, rows, 512):
            values = np.random.default_rng(start).random((512, DIMENSIONS), np.float32)
            column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), DIMENSIONS)
            yield pa.table([np.arange(start, start + 512), column], schema=embedding_schema(DIMENSIONS))

    for part in _gathered(batches(), rows, DIMENSIONS):
        _write(part, Location(folder), "features")


if __name__ == "__main__":
    row = measure()
    print(row.measured, *(f"{what}: {figure}" for what, figure in row.details), sep="\n")
