"""Reading embeddings back. Apart from making them, so that who reads them need not load torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import ray.data

from pipeline.artifacts import Float32, features_of
from pipeline.storage import Location


def read_embeddings(store: Location, embedded: dict[str, Any]) -> Float32:
    """The features (N, D) in id order, from a Ray Data stream: one array, never two.

    Args:
        embedded: the result of the embed stage.
    """
    features = np.empty((embedded["size"], embedded["dimensions"]), np.float32)
    stream = ray.data.read_parquet(store.path(embedded["files"]), filesystem=store.filesystem)
    for table in stream.iter_batches(batch_size=None, batch_format="pyarrow"):
        features[np.asarray(table["sample_id"])] = features_of(table["features"])
    return features
