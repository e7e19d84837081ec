"""The parts of the way of large pools: what is drawn from a stream, and how it is cut."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

from pipeline.cluster import assignment
from pipeline.cluster.lloyd import batches
from pipeline.cluster.sklearn_backend import _uniform_sample, fit_large, start_of_sample

ROWS = np.arange(5000, dtype=np.float32)[:, None]


@pytest.mark.parametrize("cut", [1, 499, 700, 5000])
def test_the_sample_is_the_rows_with_the_smallest_keys_however_the_stream_is_cut(cut: int) -> None:
    smallest = np.argsort(np.random.default_rng(8).random(5000))[:500]
    sample = _uniform_sample(lambda: [ROWS[i : i + cut] for i in range(0, 5000, cut)], 500, seed=8)
    assert sample.ravel().tolist() == smallest.tolist()


def test_a_short_stream_is_taken_whole() -> None:
    sample = _uniform_sample(lambda: [ROWS[:0], ROWS[:3], ROWS[3:4]], 500, seed=0)
    assert sorted(sample.ravel().tolist()) == [0, 1, 2, 3]
    assert len(_uniform_sample(list, 500, seed=0)) == 0


@pytest.mark.parametrize("cut", [1, 3, 7, 50])
def test_batches_are_even_and_in_order(cut: int) -> None:
    found = [batch.ravel().tolist() for batch in batches(lambda: [ROWS[i : i + cut] for i in range(0, 50, cut)], 7)]
    rows = [float(i) for i in range(len(range(0, 50, cut)) * cut)]
    assert found == [rows[i : i + 7] for i in range(0, len(rows), 7)]


def _clusters(n: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    return (rng.normal(size=(n, 6)) + 3 * rng.normal(size=(12, 6))[rng.integers(0, 12, n)]).astype(np.float32)


@pytest.mark.slow
def test_the_number_of_cores_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though starts run side by side."""
    rows, found = _clusters(30_000), []
    for cores in (1, 2, 5):
        monkeypatch.setattr(assignment, "cores", lambda cores=cores: cores)
        found.append(fit_large(lambda: [rows], 9, seed=2, n_init=10, max_iter=300))
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


@pytest.mark.slow
def test_of_several_starts_the_best_goes_on_to_its_end() -> None:
    """As good as the best of as many that scikit-learn follows to the end, over some seeds."""
    rows = _clusters(3000)

    def inertia(centroids: np.ndarray) -> float:
        return float(((rows[:, None] - centroids) ** 2).sum(axis=2).min(axis=1).sum())

    ours = [inertia(start_of_sample(rows, 9, seed, 10, 300)) for seed in range(6)]
    theirs = [KMeans(9, n_init=10, random_state=seed).fit(rows).inertia_ for seed in range(6)]
    assert np.mean(ours) <= 1.005 * np.mean(theirs)
    single = [inertia(start_of_sample(rows, 9, seed, 1, 300)) for seed in range(6)]
    assert np.mean(ours) < np.mean(single)
