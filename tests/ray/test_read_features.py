"""Embeddings come back as they were, whatever order their files and rows are in, and never incomplete."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.storage import Location
from tests.runs import embedded

pytestmark = pytest.mark.usefixtures("local_ray")

SIZE, DIMENSIONS = 1000, 4
FEATURES = np.random.default_rng(0).normal(size=(SIZE, DIMENSIONS)).astype(np.float32)


@pytest.fixture(params=[True, False], ids=["one machine", "a cluster"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Location:
    """A store; read as on one machine, and as on a cluster."""
    monkeypatch.setattr("pipeline.on_ray.read_features.only_this_machine", lambda: request.param)
    return Location(str(tmp_path_factory.mktemp("embeddings")))


def test_shuffled_files_and_rows_are_put_in_id_order(place: Location) -> None:
    from pipeline.on_ray.read_features import all_features, embeddings_stream, features_in_id_order, features_of_samples

    result = embedded(place, FEATURES, np.random.default_rng(1).permutation(SIZE))
    assert np.array_equal(all_features(place, result), FEATURES)
    chunks = features_in_id_order(embeddings_stream(place, result), rows=64)
    for _ in range(2):
        assert np.array_equal(np.concatenate(list(chunks())), FEATURES)
    wanted = np.array([900, 3, 512])
    assert np.array_equal(features_of_samples(place, result, wanted), FEATURES[wanted])


def test_missing_and_doubled_rows_are_an_error(place: Location) -> None:
    from pipeline.on_ray.read_features import all_features, embeddings_stream, features_in_id_order

    result = embedded(place, FEATURES, np.r_[0:500, 499, 501:SIZE])
    with pytest.raises(RuntimeError, match="2 of 1000 samples do not come exactly once"):
        all_features(place, result)
    with pytest.raises(RuntimeError, match="are not those of the samples"):
        list(features_in_id_order(embeddings_stream(place, result), rows=64)())
