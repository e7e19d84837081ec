"""pool + encoder -> embeddings: Ray Data, Parquet to Parquet, through a pool of actors.

On one machine without a GPU there is nothing to spread, so the driver reads and maps. It has torch loaded already,
which takes any other process ten seconds, and nothing is copied between processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import ray.data

from pipeline.artifacts import Encoder, PoolManifest, features_of, images_of
from pipeline.features import features_table
from pipeline.machine import cores
from pipeline.on_ray.follow import follow
from pipeline.on_ray.session import gpus, only_this_machine
from pipeline.progress import Progress, counted
from pipeline.run import Run
from pipeline.storage import Location

_FEWEST_ROWS = 1024
"""In a file, so that a small pool's features are one."""
_FILE_BYTES = 512 << 20
"""Most bytes of features in one file. The process that writes a file holds all of it."""
_FILES_TO_TELL = 50
"""Fewest files of a large pool's features. Progress is counted in written files."""


def embed_pool(run: Run, pool: PoolManifest, encoder: Encoder, files: str) -> None:
    """Write the features of every image of the pool below ``files``."""
    config, store, say = run.config, run.store, run.log
    workers = min(config.workers, gpus()) or 1
    say(f"embed {counted(pool.size, 'image')} on {counted(workers, 'GPU') if gpus() else 'the CPU'}")
    source, columns = pool.files.images("train"), ["sample_id", "image"]
    shape = (pool.height, pool.width, pool.channels)
    embedder = (store, encoder, shape, config.deterministic)
    rows = rows_of_a_file(config.embed.rows_per_file, pool.size, encoder.dimensions)
    if only_this_machine():
        from pipeline.embed import on_worker_threads, worker_threads  # torch, see below

        progress, embed, count = Progress("embed", pool.size, say), _EmbedImages(*embedder), worker_threads()
        images = store.batches(source, columns, max(1, config.embed.batch_size // count))
        for part in _gathered(on_worker_threads(embed, images, count), rows, encoder.dimensions):
            progress.advance(by=len(_write(part, store, files)))
    else:
        pool_files = ray.data.read_parquet(store.path(source), filesystem=store.filesystem)
        mapped = pool_files.select_columns(columns).map_batches(
            _EmbedImages,
            fn_constructor_args=embedder,
            compute=ray.data.ActorPoolStrategy(size=workers),
            # Without a GPU the actors request the same resources as readers, so that Ray Data fuses reading into them.
            **({"num_gpus": 1} if gpus() else {}),
            batch_size=config.embed.batch_size,
            batch_format="pyarrow",
        )
        written = mapped.map_batches(_write, fn_args=(store, files), batch_size=rows, batch_format="pyarrow")
        follow(written, "embed", pool.size, say)


def rows_of_a_file(most: int, size: int, dimensions: int) -> int:
    """Rows of one file of features: ``most``, or fewer if N = ``size`` is small or D = ``dimensions`` is large."""
    return min(most, max(1, _FILE_BYTES // (4 * dimensions)), max(_FEWEST_ROWS, -(-size // _FILES_TO_TELL)))


def _gathered(tables: Iterable[pa.Table], rows: int, dimensions: int) -> Iterator[pa.Table]:
    """Tables of ``rows`` rows; the last has the remainder. A table is valid until the next is requested.

    Results are copied into one array, and let go before the next is requested. As torch made them they lie scattered
    among a pass's large arrays, and the next pass could not use that memory again (14 MiB for each batch kept).
    """
    ids, features, filled = np.empty(rows, np.int64), np.empty((rows, dimensions), np.float32), 0
    coming = iter(tables)
    while (left := next(coming, None)) is not None:
        while len(left):
            part = left.slice(0, rows - filled)
            place = slice(filled, filled + len(part))
            ids[place], features[place] = np.asarray(part["sample_id"]), features_of(part["features"])
            filled, left = place.stop, left.slice(len(part))
            if filled == rows:
                yield features_table(ids, features)
                filled = 0
        part = left = None
    if filled:
        yield features_table(ids[:filled], features[:filled])


def _write(batch: pa.Table, store: Location, folder: str) -> pa.Table:
    """Write one file, named by a sample in it, so that a task that Ray repeats writes the same file."""
    ids = batch["sample_id"]
    store.write_table(f"{folder}/{ids[0].as_py():012d}.parquet", batch)
    return pa.table({"sample_id": ids})


class _EmbedImages:
    """One actor: loads the weights once, from the store, and maps batches."""

    def __init__(self, store: Location, encoder: Encoder, shape: tuple[int, int, int], one: bool) -> None:
        # Imported here: only these actors need torch, not the driver, readers or writers.
        import torch

        from pipeline.embed import open_embedder

        if not torch.cuda.is_available():
            torch.set_num_threads(1 if one else cores())
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._embedder = open_embedder(store.read_bytes(encoder.file), encoder, device)
        self._shape = shape

    def __call__(self, batch: pa.Table) -> pa.Table:
        return features_table(batch["sample_id"], self._embedder(images_of(batch["image"], *self._shape)))
