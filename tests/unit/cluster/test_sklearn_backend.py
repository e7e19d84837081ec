"""The parts of the way of large pools: what is drawn from a stream, and how it is cut."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.cluster.lloyd import batches
from pipeline.cluster.sklearn_backend import _uniform_sample

ROWS = np.arange(5000, dtype=np.float32)[:, None]


@pytest.mark.parametrize("cut", [1, 499, 700, 5000])
def test_the_sample_is_the_rows_with_the_smallest_keys_however_the_stream_is_cut(cut: int) -> None:
    smallest = np.argsort(np.random.default_rng(8).random(5000))[:500]
    sample = _uniform_sample(lambda: [ROWS[i : i + cut] for i in range(0, 5000, cut)], 500, seed=8)
    assert sample.ravel().tolist() == smallest.tolist()


def test_a_short_stream_is_taken_whole() -> None:
    sample = _uniform_sample(lambda: [ROWS[:3], ROWS[3:4]], 500, seed=0)
    assert sorted(sample.ravel().tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("cut", [1, 3, 7, 50])
def test_batches_are_even_and_in_order(cut: int) -> None:
    found = [batch.ravel().tolist() for batch in batches(lambda: [ROWS[i : i + cut] for i in range(0, 50, cut)], 7)]
    rows = [float(i) for i in range(len(range(0, 50, cut)) * cut)]
    assert found == [rows[i : i + 7] for i in range(0, len(rows), 7)]
