"""Keyed randomness: against SplitMix64's published numbers, for uniformity, and for being keyed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from pipeline.data.random_streams import splitmix64, stream_keys, uniform

_MASK = (1 << 64) - 1


def _splitmix64_by_hand(state: int) -> int:
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    return state ^ (state >> 31)


def test_splitmix64_gives_the_published_sequence_of_seed_1234567() -> None:
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    counter = torch.arange(1, 5) * (0x9E3779B97F4A7C15 - (1 << 64))
    assert [value & _MASK for value in splitmix64(1234567 + counter).tolist()] == published


def test_splitmix64_agrees_with_python_integers() -> None:
    states = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 200)
    ours = splitmix64(torch.from_numpy(states)).tolist()
    assert [value & _MASK for value in ours] == [_splitmix64_by_hand(int(state) & _MASK) for state in states]


def test_uniform_is_uniform_and_its_columns_are_uncorrelated() -> None:
    ids = torch.arange(20_000)
    draws = uniform(stream_keys(3, 5, torch.zeros_like(ids), ids, 1), 8).double().numpy()
    assert draws.min() >= 0 and draws.max() < 1
    for column in draws.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    correlation = np.corrcoef(draws.T)[~np.eye(8, dtype=bool)]
    assert np.abs(correlation).max() < 0.03


def test_a_draw_follows_from_its_key_alone_whatever_the_batch_around_it() -> None:
    ids = torch.arange(100)
    repeat = ids % 3
    together = uniform(stream_keys(0, 2, repeat, ids, 0), 5)
    shuffled = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    apart = torch.cat([uniform(stream_keys(0, 2, repeat[i : i + 1], ids[i : i + 1], 0), 5) for i in shuffled])
    assert torch.equal(apart, together[shuffled])


@pytest.mark.parametrize("changed", ["seed", "epoch", "repeat", "sample_id", "view"])
def test_each_part_of_the_key_changes_the_draw(changed: str) -> None:
    parts = {"seed": 1, "epoch": 1, "repeat": 1, "sample_id": 1, "view": 1}

    def draw(values: dict[str, int]) -> torch.Tensor:
        repeat, ids = torch.tensor([values["repeat"]]), torch.tensor([values["sample_id"]])
        return uniform(stream_keys(values["seed"], values["epoch"], repeat, ids, values["view"]), 4)

    assert not torch.equal(draw(parts), draw({**parts, changed: 2}))


def test_no_two_of_a_million_keys_are_equal() -> None:
    ids = torch.arange(250_000)
    keys = [stream_keys(0, epoch, torch.zeros_like(ids), ids, view) for epoch in range(2) for view in range(2)]
    assert len(torch.unique(torch.cat(keys))) == 1_000_000
