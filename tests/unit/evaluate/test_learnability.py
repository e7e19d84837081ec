"""The ground-truth map against sums written out, and on samples whose labels are wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.errors import InputError
from pipeline.evaluate.classifiers import Resources, network_settings
from pipeline.evaluate.head import HeadSettings, fit_head
from pipeline.evaluate.learnability import HEAD, learnability_of_features, learnability_of_images
from pipeline.evaluate.samples import Samples

QUICK = replace(HEAD, hidden=16, epochs=6, batch_size=32)


def pool(n: int = 120) -> Samples:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, n)
    features = (0.3 * rng.normal(size=(n, 6)) + np.eye(6)[labels]).astype(np.float32)
    images = np.full((n, 8, 8, 3), 40, np.uint8)
    images[np.arange(n), :, :, labels] = 220
    return Samples(np.arange(n), labels, features, lambda ids: images[ids])


def test_mean_and_deviation_over_the_epochs() -> None:
    samples = pool()
    history: list[np.ndarray] = []
    labels = torch.from_numpy(samples.labels)
    current = np.full(120, np.nan)

    def on_step(rows: torch.Tensor, probability: torch.Tensor) -> None:
        for row, each in zip(rows.tolist(), probability.numpy(), strict=True):
            current[row] = each[samples.labels[row]]

    fit_head(torch.from_numpy(samples.vectors()), labels, 3, 4, QUICK, on_step, lambda: history.append(current.copy()))
    found = learnability_of_features(samples, 3, 4, QUICK)
    assert len(history) == 6
    assert found.mean == pytest.approx(np.mean(history, axis=0), abs=1e-6)
    assert found.std == pytest.approx(np.std(history, axis=0), abs=1e-6)


def test_the_batches_run_over_a_step_probability_before_it() -> None:
    # At the first epoch a network knows nothing: a third of the truth on average.
    found = learnability_of_features(pool(), 3, 0, replace(QUICK, epochs=1, learning_rate=1e-9))
    assert found.mean.mean() == pytest.approx(1 / 3, abs=0.1) and (found.std == 0).all()


def test_wrong_labels_are_hard_to_learn_and_unknown_ones_unknown() -> None:
    samples = pool()
    labels = samples.labels.copy()
    wrong, unknown = np.arange(6), np.arange(6, 12)
    labels[wrong] = (labels[wrong] + 1) % 3
    labels[unknown] = -1
    settings = replace(QUICK, epochs=20, learning_rate=0.01)
    found = learnability_of_features(replace(samples, labels=labels), 3, 0, settings)
    assert np.isnan(found.mean[unknown]).all() and np.isnan(found.std[unknown]).all()
    assert found.mean[wrong].max() < np.quantile(found.mean[12:], 0.2)


@pytest.mark.usefixtures("tiny_encoder")
def test_by_a_network_on_images() -> None:
    quick = replace(network_settings("small"), learning_rate=0.05)
    found = learnability_of_images(pool(60), 3, 0, Resources(network=quick), epochs=8)
    assert found.mean.shape == (60,) and np.isfinite(found.mean).all() and found.mean.mean() > 0.4


def test_labels_are_needed() -> None:
    with pytest.raises(InputError, match="give --labels"):
        learnability_of_features(replace(pool(), labels=np.full(120, -1)), 3, 0, HeadSettings())
