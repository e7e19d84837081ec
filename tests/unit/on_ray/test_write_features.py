"""Batches of features become files of one length."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from pipeline.artifacts import Float32, features_of
from pipeline.features import features_table
from pipeline.on_ray.write_features import _gathered, rows_of_a_file

FEATURES = np.random.default_rng(0).normal(size=(25, 3)).astype(np.float32)


@pytest.mark.parametrize(("rows", "lengths"), [(10, [10, 10, 5]), (5, [5] * 5), (2, [2] * 12 + [1]), (99, [25])])
def test_batches_cross_the_ends_of_files(rows: int, lengths: list[int]) -> None:
    batches = [
        features_table(np.arange(25)[part], FEATURES[part]) for part in (slice(0, 7), slice(7, 14), slice(14, 25))
    ]
    files = [pa.Table.from_pydict(each.to_pydict(), each.schema) for each in _gathered(batches, rows, 3)]
    assert [len(each) for each in files] == lengths
    together = pa.concat_tables(files)
    assert together["sample_id"].to_pylist() == list(range(25))
    assert np.array_equal(features_of(together["features"]), FEATURES)


def test_a_batch_is_let_go_before_the_next_is_made() -> None:
    made: list[weakref.ref[Float32]] = []

    def batches() -> Iterator[pa.Table]:
        for start in range(0, 24, 8):
            assert not any(features() is not None for features in made)
            features = FEATURES[start : start + 8].copy()
            made.append(weakref.ref(features))
            table = features_table(np.arange(8), features)
            del features
            yield table
            del table

    assert [len(file) for file in _gathered(batches(), 5, 3)] == [5, 5, 5, 5, 4] and len(made) == 3


def test_an_empty_pool_gives_no_file() -> None:
    assert list(_gathered([], 10, 3)) == []


@pytest.mark.parametrize(
    ("most", "size", "dimensions", "rows"),
    [
        (65_536, 10**9, 512, 65_536),
        (1_000_000, 10**9, 512, 262_144),  # 512 MiB
        (1_000_000, 10**9, 2048, 65_536),
        (65_536, 10**6, 512, 20_000),  # 50 files
        (65_536, 300, 512, 1024),
    ],
)
def test_files_are_bounded_by_bytes_and_small_pools_by_progress(
    most: int, size: int, dimensions: int, rows: int
) -> None:
    assert rows_of_a_file(most, size, dimensions) == rows
