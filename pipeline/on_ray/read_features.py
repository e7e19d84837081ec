"""Reading embeddings: as a Ray Data stream, or on one machine straight from the files.

Separate from ``write_features``, so that a process that reads them need not load torch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import ray.data

from pipeline.artifacts import Float32, Int64, features_of
from pipeline.cluster.assignment import Chunks
from pipeline.features import ROWS, gathered, rows_of
from pipeline.on_ray.session import only_this_machine
from pipeline.results import Embedded
from pipeline.storage import Location

HELD_BYTES = 4 << 30
"""Features up to this size are one array in memory. Larger ones are streamed where the reader can take a stream."""
CHUNK_BYTES = 64 << 20
"""Size of a chunk of the stream. K-means holds two chunks, and blocks that wait for a core."""


def embeddings_stream(store: Location, embedded: Embedded) -> ray.data.Dataset:
    """Rows of sample_id and features, in no promised order.

    Args:
        embedded: the result of the embed stage.
    """
    return ray.data.read_parquet(store.path(embedded.files), filesystem=store.filesystem)


def all_features(store: Location, embedded: Embedded) -> Float32:
    """The features (N, D) in id order: one array, never two."""
    return gathered(_tables(store, embedded), embedded)


def features_in_chunks(store: Location, embedded: Embedded) -> Chunks:
    """Repeatable passes over the features in id order: of an array where they fit in memory, else of a stream."""
    rows = max(1, CHUNK_BYTES // (4 * embedded.dimensions))
    if 4 * embedded.size * embedded.dimensions > HELD_BYTES:
        return features_in_id_order(embeddings_stream(store, embedded), rows)
    features = all_features(store, embedded)
    return lambda: (features[at : at + rows] for at in range(0, len(features), rows))


def features_in_id_order(stream: ray.data.Dataset, rows: int) -> Chunks:
    """Repeatable passes over chunks (rows, D) in id order. Ray holds the chunks, on disk if memory is short.

    Raises:
        RuntimeError: a pass does not yield the ids 0, 1, 2, ...; only a row's position tells its sample.
    """
    stream.context.execution_options.preserve_order = True
    ordered = stream.sort("sample_id").materialize()

    def chunks() -> Iterator[Float32]:
        seen = 0
        for table in ordered.iter_batches(batch_size=rows, batch_format="pyarrow"):
            ids = np.asarray(table["sample_id"])
            if not np.array_equal(ids, np.arange(seen, seen + len(ids))):
                raise RuntimeError(f"the embeddings from row {seen} on are not those of the samples from {seen} on")
            seen += len(ids)
            yield features_of(table["features"])

    return chunks


def features_of_samples(store: Location, embedded: Embedded, ids: Int64) -> Float32:
    """The features (n, D) of some samples, in the order of their ids (n,).

    Reads all ids, but only those row groups of features that hold one of the samples.
    """
    files, wanted = [name for name, _, _ in store.files(embedded.files)], pa.array(ids)
    if only_this_machine():
        found = pa.concat_tables(rows_of(store, f"{embedded.files}/{name}", wanted) for name in files)
    else:
        look = {"store": store, "folder": embedded.files, "ids": wanted}
        tables = ray.data.from_items([{"file": name} for name in files]).map_batches(
            _rows_of_files, fn_kwargs=look, batch_size=1, batch_format="pyarrow"
        )
        found = pa.concat_tables(tables.iter_batches(batch_size=None, batch_format="pyarrow"))
    found = found.sort_by("sample_id")
    features = features_of(found["features"])
    return np.asarray(features[np.searchsorted(np.asarray(found["sample_id"]), ids)])


def _tables(store: Location, embedded: Embedded) -> Iterator[pa.Table]:
    """All rows, in no promised order."""
    if only_this_machine():
        yield from store.batches(embedded.files, ["sample_id", "features"], ROWS)
    else:
        yield from embeddings_stream(store, embedded).iter_batches(batch_size=None, batch_format="pyarrow")


def _rows_of_files(batch: pa.Table, store: Location, folder: str, ids: pa.Array) -> pa.Table:
    return pa.concat_tables(rows_of(store, f"{folder}/{name}", ids) for name in batch["file"].to_pylist())
