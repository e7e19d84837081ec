"""Where a finished run keeps what its stages left, and what embedding would have left of features made by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.artifacts import Float32, embedding_schema
from pipeline.publish import finished
from pipeline.results import STAGES, Embedded
from pipeline.run import run_folder
from pipeline.storage import Location


def files_of(store: Location, run: str, stage: str) -> str:
    """The folder that the stage's result names."""
    kind = next(kind for kind in STAGES if kind.stage == stage)
    done = finished(store, run_folder(run, stage), kind)
    assert done is not None, f"{stage} of {run} is not finished"
    return done.files


def embedded(store: Location, features: Float32, ids: np.ndarray) -> Embedded:
    """Seven files with the rows ``ids`` of ``features`` (N, D), in that order; the result of their stage."""
    size, dimensions = features.shape
    for number, part in enumerate(np.array_split(ids, 7)):
        column = pa.FixedSizeListArray.from_arrays(pa.array(features[part].ravel()), dimensions)
        store.write_table(f"parts/{number}.parquet", pa.table([part, column], schema=embedding_schema(dimensions)))
    return Embedded(files="parts", size=size, dimensions=dimensions, fingerprint="of the features")
