"""Every draw counted: the plan against a plain count of what it yields."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.data.sampler import BLOCK, Sampler
from tests.reading import draws

CASES = [
    (100, 1, 10, 10**6),
    (103, 1, 10, 10**6),
    (103, 3, 10, 10**6),
    (7, 5, 16, 10**6),
    (5000, 2, 64, 2048),
    (3 * BLOCK + 5, 1, 100, BLOCK),
    (3 * BLOCK + 5, 1, 100, BLOCK // 3),
]


@pytest.mark.parametrize(("size", "repeats", "batch", "window"), CASES)
def test_counts_known_in_advance_are_the_counts_of_the_batches(
    size: int, repeats: int, batch: int, window: int
) -> None:
    sampler = Sampler(size, repeats, batch, seed=3, window=window)
    drawn = np.zeros(size, np.int64)
    for epoch in range(3):
        steps = list(sampler.epoch(epoch))
        assert [step.index for step in steps] == list(range(sampler.steps))
        for step in steps:
            assert len(step.ids) == len(step.repeat) == batch
            assert np.array_equal(np.sort(step.shuffle), np.arange(batch))
            np.add.at(drawn, step.ids, 1)
    assert np.array_equal(drawn, draws(sampler, 3))
    assert drawn.sum() == 3 * sampler.steps * batch
    assert drawn.max() <= 3 * repeats


@pytest.mark.parametrize(("size", "repeats", "batch", "window"), CASES)
def test_windows_are_what_the_batches_hold(size: int, repeats: int, batch: int, window: int) -> None:
    sampler = Sampler(size, repeats, batch, seed=3, window=window)
    steps, windows = list(sampler.epoch(1)), list(sampler.drawn(1))
    for name, expected in (
        ("ids", [ids for _, ids in windows]),
        ("repeat", [np.full(len(ids), repeat) for repeat, ids in windows]),
        ("window", [np.full(len(ids), number) for number, (_, ids) in enumerate(windows)]),
    ):
        assert np.array_equal(np.concatenate([getattr(step, name) for step in steps]), np.concatenate(expected))
    assert all(len(ids) for _, ids in windows)


@pytest.mark.parametrize(("size", "window"), [(1000, 10**6), (5000, 2048), (3 * BLOCK + 5, BLOCK)])
def test_a_repeat_holds_every_image_once(size: int, window: int) -> None:
    sampler = Sampler(size, 2, 32, seed=0, window=window)
    for repeat in range(2):
        windows = list(sampler.windows(0, repeat))
        assert np.array_equal(np.sort(np.concatenate(windows)), np.arange(size))
        assert all(len(ids) <= window + BLOCK for ids in windows)


def test_the_order_changes_with_epoch_repeat_and_seed_and_with_nothing_else() -> None:
    def first(seed: int, epoch: int, repeat: int) -> np.ndarray:
        return next(Sampler(500, 3, 20, seed, 10**6).windows(epoch, repeat))

    assert np.array_equal(first(0, 0, 0), first(0, 0, 0))
    for other in (first(1, 0, 0), first(0, 1, 0), first(0, 0, 1)):
        assert not np.array_equal(first(0, 0, 0), other)


def test_a_batch_may_straddle_two_repeats_and_says_so() -> None:
    steps = list(Sampler(10, 2, 8, seed=0, window=10**6).epoch(0))
    assert steps[1].repeat.tolist() == [0, 0, 1, 1, 1, 1, 1, 1]
    assert steps[1].window.tolist() == steps[1].repeat.tolist()
