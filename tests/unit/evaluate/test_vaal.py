"""VAAL: what looks unlike the labelled gets the lower score."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.evaluate.vaal import Autoencoder, VaalSettings, labelled_score, reference_sample

QUICK = VaalSettings(width=2, latent=4, steps=40, batch_size=16, learning_rate=5e-3)


def images(n: int = 200, channels: int = 1) -> np.ndarray:
    """The first half dark, the second bright."""
    rng = np.random.default_rng(0)
    level = np.r_[np.full(n // 2, 40), np.full(n - n // 2, 200)][:, None, None, None]
    return (level + rng.integers(-20, 20, (n, 9, 9, channels))).astype(np.uint8)


@pytest.mark.slow
def test_what_is_unlike_the_labelled_scores_low() -> None:
    labelled = np.zeros(200, bool)
    labelled[:40] = True
    state = torch.get_rng_state()
    score = labelled_score(images(), labelled, 0, QUICK)
    assert torch.equal(torch.get_rng_state(), state)
    assert score.shape == (200,) and ((score > 0) & (score < 1)).all()
    dark, bright = score[40:100], score[100:]
    assert np.mean(dark[:, None] > bright) > 0.95
    short = VaalSettings(width=2, latent=4, steps=2, batch_size=16)
    first, again, other = (labelled_score(images(), labelled, seed, short) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_sizes_and_channels() -> None:
    settings = VaalSettings(width=2, latent=3, steps=1, batch_size=4)
    colour = np.repeat(images(20), 3, axis=3)[:, :7]
    assert labelled_score(colour, np.arange(20) < 5, 0, settings).shape == (20,)
    again, mean, log_variance = Autoencoder(2, 3)(torch.rand(4, 3, 32, 32), torch.Generator().manual_seed(0))
    assert again.shape == (4, 3, 32, 32) and mean.shape == log_variance.shape == (4, 3)


def test_a_reference_where_nothing_is_labelled() -> None:
    mask = reference_sample(100, 30, 1)
    assert mask.sum() == 30 and np.array_equal(mask, reference_sample(100, 30, 1))
    assert not np.array_equal(mask, reference_sample(100, 30, 2))
    with pytest.raises(ValueError, match="0 of 200 images are labelled"):
        labelled_score(images(), np.zeros(200, bool), 0, QUICK)
    with pytest.raises(ValueError, match="200 of 200"):
        labelled_score(images(), np.ones(200, bool), 0, QUICK)
