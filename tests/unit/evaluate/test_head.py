"""The small network on features: dropout by hand, training, draws."""

from __future__ import annotations

import numpy as np
import torch

from pipeline.evaluate.head import Head, HeadSettings, fit_head, permuted_batches, probabilities, probability_draws

QUICK = HeadSettings(hidden=16, epochs=5, least_steps=60, batch_size=32)


def blobs(n: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    features = 0.1 * rng.normal(size=(n, 8)) + np.eye(8)[labels] + 5
    return torch.from_numpy(features.astype(np.float32)), torch.from_numpy(labels)


def test_dropout_by_hand() -> None:
    head = Head(8, 3, hidden=0, dropout=0.25)
    features, _ = blobs(4000)
    kept = torch.rand(features.shape, generator=torch.Generator().manual_seed(7)) >= 0.25
    expected = head.last(features * kept / 0.75)
    assert torch.equal(head(features, torch.Generator().manual_seed(7)), expected)
    assert torch.equal(head.train()(features), head.last(features))
    assert abs(float(kept.float().mean()) - 0.75) < 0.01


def test_it_learns_the_same_each_time_and_touches_no_global_generator() -> None:
    features, labels = blobs(200)
    state = torch.get_rng_state()
    first, again = (fit_head(features, labels, 3, 1, QUICK) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    test, truth = blobs(100, seed=1)
    found = probabilities(first, test)
    assert torch.equal(found, probabilities(again, test))
    assert float((found.argmax(1) == truth).float().mean()) > 0.95
    torch.testing.assert_close(found.sum(1), torch.ones(100))


def test_an_epoch_is_every_sample_once() -> None:
    generator = torch.Generator().manual_seed(0)
    batches = list(permuted_batches(101, 4, generator))
    assert sorted(len(rows) for rows in batches) == [25, 25, 25, 26]
    assert sorted(torch.cat(batches).tolist()) == list(range(101))


def test_draws_are_seeded_and_scatter_where_the_head_is_unsure() -> None:
    features, labels = blobs(200)
    head = fit_head(features, labels, 3, 1, HeadSettings(hidden=64, dropout=0.1, least_steps=200, learning_rate=0.01))
    between = (features[labels == 0].mean(0) + features[labels == 1].mean(0)) / 2
    points = torch.stack([features[labels == 0].mean(0), between])
    draws = probability_draws(head, points, 300, seed=5)
    assert draws.shape == (300, 2, 3)
    assert torch.equal(draws, probability_draws(head, points, 300, seed=5))
    assert float(draws[:, 1, 0].std()) > 2 * float(draws[:, 0, 0].std())
