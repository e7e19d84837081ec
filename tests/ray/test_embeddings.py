"""Embeddings come back as they were, whatever order their files and rows are in, and never incomplete."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.artifacts import embedding_schema
from pipeline.storage import Location

pytestmark = pytest.mark.usefixtures("local_ray")

SIZE, DIMENSIONS = 1000, 4
FEATURES = np.random.default_rng(0).normal(size=(SIZE, DIMENSIONS)).astype(np.float32)


def _embedded(place: Location, ids: np.ndarray) -> dict[str, Any]:
    """Seven files with the rows ``ids``, in that order; the result of the stage that would have made them."""
    for number, part in enumerate(np.array_split(ids, 7)):
        column = pa.FixedSizeListArray.from_arrays(pa.array(FEATURES[part].ravel()), DIMENSIONS)
        place.write_table(f"parts/{number}.parquet", pa.table([part, column], schema=embedding_schema(DIMENSIONS)))
    return {"files": "parts", "size": SIZE, "dimensions": DIMENSIONS}


@pytest.fixture(params=[True, False], ids=["one machine", "a cluster"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Location:
    """A store; read as on one machine, and as on a cluster."""
    monkeypatch.setattr("pipeline.on_ray.embeddings.only_this_machine", lambda: request.param)
    return Location(str(tmp_path_factory.mktemp("embeddings")))


def test_shuffled_files_and_rows_are_put_in_id_order(place: Location) -> None:
    from pipeline.on_ray.embeddings import all_features, embeddings_stream, features_in_id_order, features_of_samples

    embedded = _embedded(place, np.random.default_rng(1).permutation(SIZE))
    assert np.array_equal(all_features(place, embedded), FEATURES)
    chunks = features_in_id_order(embeddings_stream(place, embedded), rows=64)
    for _ in range(2):
        assert np.array_equal(np.concatenate(list(chunks())), FEATURES)
    wanted = np.array([900, 3, 512])
    assert np.array_equal(features_of_samples(place, embedded, wanted), FEATURES[wanted])


def test_missing_and_doubled_rows_are_an_error(place: Location) -> None:
    from pipeline.on_ray.embeddings import all_features, embeddings_stream, features_in_id_order

    embedded = _embedded(place, np.r_[0:500, 499, 501:SIZE])
    with pytest.raises(RuntimeError, match="2 of 1000 samples do not come exactly once"):
        all_features(place, embedded)
    with pytest.raises(RuntimeError, match="are not those of the samples"):
        list(features_in_id_order(embeddings_stream(place, embedded), rows=64)())
