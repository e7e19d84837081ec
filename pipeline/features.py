"""Features in Parquet files: written and read back, without Ray. N = samples, D = dimensions."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.artifacts import Float32, Int64, embedding_schema, features_of
from pipeline.results import Embedded
from pipeline.storage import Location

ROWS = 8192
"""Read at once: 16 MiB of ResNet-18's features."""


def features_table(ids: Int64 | pa.ChunkedArray, features: Float32) -> pa.Table:
    """One row a sample, as ``embedding_schema``; ids (n,), features (n, D)."""
    dimensions = features.shape[1]
    column = pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), dimensions)
    return pa.table([ids, column], schema=embedding_schema(dimensions))


def write_features(store: Location, folder: str, ids: Int64, features: Float32) -> None:
    """Write one file, named by a sample in it, so that a task that is repeated writes the same file."""
    store.write_table(f"{folder}/{ids[0]:012d}.parquet", features_table(ids, features))


def features_from_files(store: Location, embedded: Embedded) -> Float32:
    """The features (N, D) in id order, read by this process alone."""
    return gathered(store.batches(embedded.files, ["sample_id", "features"], ROWS), embedded)


def gathered(tables: Iterable[pa.Table], embedded: Embedded) -> Float32:
    """The features (N, D) in id order.

    Raises:
        RuntimeError: a sample is missing from ``tables``, or comes twice.
    """
    features = np.empty((embedded.size, embedded.dimensions), np.float32)
    times = np.zeros(embedded.size, np.int8)
    for table in tables:
        ids = np.asarray(table["sample_id"])
        features[ids] = features_of(table["features"])
        np.add.at(times, ids, 1)
    if (times != 1).any():
        raise RuntimeError(f"{(times != 1).sum()} of {len(times)} samples do not come exactly once in the embeddings")
    return features


def rows_of(store: Location, file: str, ids: pa.Array) -> pa.Table:
    """The rows of one file whose sample is among ``ids``; holds a row group."""
    with store.open(file) as source:
        parquet = pq.ParquetFile(source)
        found = [parquet.schema_arrow.empty_table()]
        for group in range(parquet.num_row_groups):
            # Not by the group's statistics: where several wrote at a time, the ids in a group may lie far apart.
            here = pc.is_in(parquet.read_row_group(group, columns=["sample_id"])["sample_id"], ids)
            if pc.any(here).as_py():
                found.append(parquet.read_row_group(group).filter(here))
    return pa.concat_tables(found)
