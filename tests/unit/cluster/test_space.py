"""The space in which images are compared: principal components, against scikit-learn's."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from pipeline.artifacts import Float32
from pipeline.cluster.assignment import Chunks
from pipeline.cluster.space import Space, principal_components


def chunks_of(rows: Float32, size: int) -> Chunks:
    """The rows in chunks of one size."""

    def chunks() -> Iterator[Float32]:
        for at in range(0, len(rows), size):
            yield rows[at : at + size]

    return chunks


@pytest.fixture(scope="module")
def features() -> Float32:
    """(900, 40), with a large mean and a few strong directions, as a network's are."""
    rng = np.random.default_rng(0)
    strong = rng.normal(size=(900, 5)) @ rng.normal(size=(5, 40))
    made: Float32 = (3 + strong + 0.1 * rng.normal(size=(900, 40))).astype(np.float32)
    return made


def test_it_is_scikit_learns_pca_of_unit_norm(features: Float32) -> None:
    space = principal_components(chunks_of(features, 100), 8)
    model = PCA(8, svd_solver="full").fit(features.astype(np.float64))
    expected = model.transform(features)
    expected *= np.sign((expected * space(features)).sum(axis=0))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(space(features), expected, atol=2e-4)
    assert space.explained == pytest.approx(model.explained_variance_ratio_.sum(), abs=1e-5)


@pytest.mark.parametrize("size", [1, 7, 450, 5000])
def test_chunks_and_threads_change_nothing(features: Float32, size: int) -> None:
    expected = principal_components(chunks_of(features, 100), 6)
    with threadpool_limits(limits=2):
        found = principal_components(chunks_of(features, size), 6)
    np.testing.assert_array_equal(found.directions, expected.directions)
    np.testing.assert_array_equal(found.mean, expected.mean)


@pytest.mark.parametrize(("rows", "dimensions", "most", "expected"), [(5, 40, 96, 4), (900, 40, 96, 40), (1, 40, 9, 1)])
def test_there_are_no_more_components_than_a_pool_has(
    features: Float32, rows: int, dimensions: int, most: int, expected: int
) -> None:
    space = principal_components(chunks_of(features[:rows, :dimensions], 100), most)
    assert space.directions.shape == (dimensions, expected)
    assert np.isfinite(space(features[:rows])).all()


def test_it_comes_back_from_its_file(features: Float32) -> None:
    space = principal_components(chunks_of(features, 100), 6)
    again = Space.from_bytes(space.to_bytes())
    np.testing.assert_array_equal(again(features), space(features))
    assert again.explained == space.explained


def test_a_row_at_the_mean_has_no_direction(features: Float32) -> None:
    space = principal_components(chunks_of(features, 100), 6)
    assert (space(space.mean[None]) == 0).all()
