"""The training loop on images that a network of a few thousand weights can tell apart."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.evaluate.classifiers import network
from pipeline.evaluate.classifiers.model import Backbone
from pipeline.evaluate.classifiers.network import FittedNetwork, epoch_batches, fit_network
from pipeline.evaluate.classifiers.settings import NetworkSettings, csval, paper, small
from pipeline.evaluate.samples import Samples
from tests.tiny import TinyNet

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
QUICK = NetworkSettings(epochs=12, batch_size=16, learning_rate=0.05, momentum=0.9)


def tiny() -> Backbone:
    body = TinyNet()
    body.fc = nn.Identity()
    return Backbone(body, 32)


def squares(n: int, seed: int) -> Samples:
    """Three classes: a bright square in the red, green or blue; inverting colours leaves them apart."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    images = rng.integers(90, 130, (n, 8, 8, 3)).astype(np.uint8)
    images[np.arange(n), 2:6, 2:6, labels] = 250
    return Samples(np.arange(n), labels, None, lambda ids: images[ids])


def fitted(settings: NetworkSettings = QUICK, val: Samples | None = None, seed: int = 0) -> FittedNetwork:
    return fit_network(tiny, squares(60, 0), val, 3, seed, settings, CPU)


def test_it_learns_and_says_what_it_watched() -> None:
    test = squares(100, 1)
    watched = fitted(val=squares(40, 2))
    found = watched.predict(test)
    assert found.shape == (100, 3) and found.sum(1) == pytest.approx(np.ones(100), abs=1e-5)
    assert (found.argmax(1) == test.labels).mean() > 0.9
    assert watched.note.startswith("kept the weights of the lowest validation loss; that was epoch ")
    assert watched.note.endswith(" of 12")
    assert "no validation split" in fitted().note


def test_the_seed_decides_and_nothing_else_is_touched() -> None:
    test = squares(10, 1)
    state = torch.get_rng_state()
    first, again, other = (fitted(seed=seed).predict(test) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(first, again) and not np.allclose(first, other)


def test_the_kept_weights_are_those_of_the_lowest_loss() -> None:
    val = squares(40, 2)
    seen: list[float] = []

    def loss(model: FittedNetwork) -> float:
        probability = model.predict(val)[np.arange(40), val.labels]
        return float(-np.log(probability).mean())

    for epochs in range(1, 9):
        settings = replace(QUICK, epochs=epochs, learning_rate=0.3)
        seen.append(loss(fitted(settings, val)))
    # With one more epoch the kept loss can only fall or stay.
    assert all(later <= earlier + 1e-6 for earlier, later in pairwise(seen))


@pytest.mark.parametrize("n", [1, 2, 5, 129, 300])
def test_an_epoch_holds_every_image_alike(n: int) -> None:
    generator = torch.Generator().manual_seed(0)
    batches = list(epoch_batches(n, NetworkSettings(), generator))
    assert len(batches) == math.ceil(n / 128)
    assert all(2 <= len(rows) <= 128 for rows in batches)
    counts = torch.bincount(torch.cat(batches), minlength=n)
    assert set(counts.tolist()) == {2 if n == 1 else 1}
    more = list(epoch_batches(n, replace(NetworkSettings(), least_steps=7), generator))
    assert len(more) >= 7 and len(set(torch.bincount(torch.cat(more), minlength=n).tolist())) == 1


def test_an_epoch_of_the_authors_code_draws_with_replacement() -> None:
    generator = torch.Generator().manual_seed(0)
    batches = list(epoch_batches(100, csval(), generator))
    assert [len(rows) for rows in batches] == [128] * 50
    counts = torch.bincount(torch.cat(batches), minlength=100).numpy()
    # Poisson-like about 64, not all alike.
    assert counts.mean() == 64 and 4 < counts.std() < 12
    assert len(list(epoch_batches(128 * 60, csval(), generator))) == 60


def test_presets_are_the_papers_and_the_codes() -> None:
    assert (paper().epochs, paper().batch_size, paper().learning_rate) == (10_000, 128, 0.1)
    assert (paper().plateau_factor, paper().plateau_patience, paper().stop_patience) == (0.5, 8, 50)
    assert (csval().plateau_patience, csval().stop_patience, csval().image_size, csval().momentum) == (4, 5, 48, 0)
    assert csval().with_replacement and csval().least_steps == 50 and small().epochs < 20


def keras(losses: list[float], settings: NetworkSettings) -> tuple[list[float], int, int]:
    """Learning rate after each epoch, number of epochs, best epoch: Keras' two callbacks, written out."""
    rate, rates = settings.learning_rate, []
    best, wait, best_epoch, reference, plateau_wait = math.inf, 0, 0, math.inf, 0
    for epoch, loss in enumerate(losses, 1):
        if loss < best:
            best, wait, best_epoch = loss, 0, epoch
        else:
            wait += 1
        if loss < reference - 1e-4:
            reference, plateau_wait = loss, 0
        else:
            plateau_wait += 1
            if plateau_wait >= settings.plateau_patience:
                rate, plateau_wait = max(rate * settings.plateau_factor, 1e-6), 0
        rates.append(rate)
        if wait >= settings.stop_patience:
            return rates, epoch, best_epoch
    return rates, len(losses), best_epoch


def test_plateaus_as_keras_counts_them() -> None:
    rng = np.random.default_rng(0)
    settings = replace(QUICK, plateau_patience=3, stop_patience=6, learning_rate=1.0)
    for _ in range(30):
        losses = (rng.random(40) * np.linspace(1, 0.3, 40)).round(2).tolist()
        model = tiny().network
        training = type("Training", (), {})()
        training.model, training.optimizer = model, torch.optim.SGD(model.parameters(), 1.0)
        plateau, rates = network._Plateau(settings), []
        for loss in losses:
            ends = plateau.ends(loss, training)
            rates.append(training.optimizer.param_groups[0]["lr"])
            if ends:
                break
        assert (rates, len(rates), plateau.best_epoch) == keras(losses, settings)


def test_every_step_is_told() -> None:
    told: list[torch.Tensor] = []
    epochs: list[int] = []
    settings = replace(QUICK, epochs=3)

    def on_step(rows: torch.Tensor, probability: torch.Tensor) -> None:
        assert probability.shape == (len(rows), 3)
        told.append(rows)

    fit_network(
        tiny, squares(60, 0), None, 3, 0, settings, CPU, on_step=on_step, on_epoch=lambda: epochs.append(len(told))
    )
    assert epochs == [4, 8, 12]
    assert torch.bincount(torch.cat(told)).tolist() == [3] * 60


@pytest.mark.parametrize("rows", [[0], [0, 0]])
def test_a_query_of_one_image_or_one_class(rows: list[int]) -> None:
    query = squares(60, 0).take(np.array(rows))
    found = fit_network(tiny, query, None, 3, 0, replace(QUICK, epochs=2), CPU).predict(squares(5, 1))
    assert np.isfinite(found).all()


def test_dropout_draws_differ_and_agree_on_average() -> None:
    model = fit_network(tiny, squares(60, 0), None, 3, 0, QUICK, CPU, dropout=0.5)
    images = squares(20, 1).images()
    draws = model.predict_draws(images, 200, seed=1)
    assert draws.shape == (200, 20, 3) and draws.std(0).mean() > 0.01
    assert np.array_equal(draws[:3], model.predict_draws(images, 3, seed=1))
    # As logits of a linear head are right on average, the most probable class is the same where it is sure.
    sure = model.predict_images(images).max(1) > 0.9
    assert (draws.mean(0).argmax(1) == model.predict_images(images).argmax(1))[sure].all()
