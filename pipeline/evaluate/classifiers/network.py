"""One supervised training loop on images, for every network and every preset.

An epoch is SGD on augmented batches of the query. Then the monitored loss decides on the learning rate, on stopping,
and on which weights are kept. It is the loss on the validation split. Where there is none (CIFAR-10-LT) it is the
epoch's mean training loss: nothing of so small a query can be spared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline import device as devices
from pipeline.artifacts import Float32, Float64, Uint8
from pipeline.data.random_streams import stream_keys
from pipeline.evaluate.classifiers.augment import Augmentation, augment
from pipeline.evaluate.classifiers.model import Backbone, ImageClassifier
from pipeline.evaluate.classifiers.settings import NetworkSettings
from pipeline.evaluate.head import Head, OnStep, permuted_batches, probabilities, probability_draws
from pipeline.evaluate.samples import Samples

_LEAST_LEARNING_RATE = 1e-6
_BETTER_BY = 1e-4
"""Keras' default, which the authors' code uses: a smaller gain does not keep the learning rate up."""
_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class FittedNetwork:
    """A trained network, and what was remarkable about the training."""

    model: ImageClassifier
    device: torch.device
    dtype: torch.dtype
    note: str

    def predict(self, samples: Samples) -> Float64:
        """(n, C) class probabilities."""
        return self.predict_images(samples.images()).astype(np.float64)

    def predict_images(self, images: Uint8) -> Float32:
        """(n, H, W, C) uint8 -> (n, C)."""
        return probabilities(self.model.head, self._embed(images)).cpu().numpy()

    def predict_draws(self, images: Uint8, draws: int, seed: int) -> Float32:
        """(T, n, C) of T passes with dropout before the head, whose inputs are computed once."""
        return probability_draws(self.model.head, self._embed(images), draws, seed).cpu().numpy()

    @torch.inference_mode()
    def _embed(self, images: Uint8) -> Tensor:
        """(n, width), float32."""
        self.model.eval()
        parts = []
        for start in range(0, len(images), _ROWS_AT_ONCE):
            pixels = on_device(images[start : start + _ROWS_AT_ONCE], self.device)
            with devices.autocast(self.device, self.dtype):
                parts.append(self.model.embed(pixels.to(torch.float32) / 255).float())
        return torch.cat(parts)


def fit_network(
    build: Callable[[], Backbone],
    train: Samples,
    val: Samples | None,
    classes: int,
    seed: int,
    settings: NetworkSettings,
    device: torch.device,
    *,
    dropout: float = 0.0,
    on_step: OnStep | None = None,
    on_epoch: Callable[[], None] | None = None,
) -> FittedNetwork:
    """Train a network on ``train``; deterministic on one machine.

    Args:
        build: makes the backbone, drawing what it draws from torch's generator.
        val: monitored; none: the training loss is.
        dropout: before the head, in training and in ``predict_draws``.
        on_step: told each step's rows of ``train`` and their probabilities (n, C).
        on_epoch: told the end of each epoch.

    Raises:
        InputError: samples without images.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = build()
        model = ImageClassifier(
            backbone, Head(backbone.width, classes, settings.head_units, dropout), settings.image_size
        )
    training = _Training(model.to(device), train, settings, seed, device)
    monitored = None if val is None else _monitored(val, settings, seed, device)
    plateau = _Plateau(settings)
    for epoch in range(settings.epochs):
        loss = training.run_epoch(epoch, on_step)
        if on_epoch is not None:
            on_epoch()
        if plateau.ends(loss if monitored is None else training.loss_on(*monitored), training):
            break
    model.load_state_dict(plateau.best)
    watched = "training loss (no validation split)" if monitored is None else "validation loss"
    note = f"kept the weights of the lowest {watched}; that was epoch {plateau.best_epoch} of {epoch + 1}"
    return FittedNetwork(model, device, training.dtype, note)


def on_device(images: Uint8, device: torch.device) -> Tensor:
    """(n, H, W, C) uint8 -> (n, C, H, W) on the device."""
    return devices.send(torch.from_numpy(np.ascontiguousarray(images)), device).permute(0, 3, 1, 2)


class _Training:
    """The state of a training."""

    def __init__(
        self, model: ImageClassifier, train: Samples, settings: NetworkSettings, seed: int, device: torch.device
    ) -> None:
        self.model, self.settings, self.seed = model, settings, seed
        self.images = on_device(train.images(), device)
        self.labels = torch.from_numpy(train.labels.astype(np.int64)).to(device)
        self.ids = torch.from_numpy(train.ids).to(device)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.recipe = Augmentation(fade_kind=settings.fade)
        self.dtype, _ = devices.choose_precision("auto", device)
        self.optimizer = torch.optim.SGD(
            model.parameters(), settings.learning_rate, momentum=settings.momentum, fused=True
        )

    def run_epoch(self, epoch: int, on_step: OnStep | None) -> float:
        """The mean training loss."""
        self.model.train()
        total, draws = torch.zeros((), device=self.images.device), 0
        for rows in epoch_batches(len(self.labels), self.settings, self.generator):
            # Every draw of an epoch has a number of its own, so that an image drawn twice looks different.
            number = torch.arange(draws, draws + len(rows), device=rows.device)
            keys = stream_keys(self.seed, epoch, number, self.ids[rows], view=0)
            pixels = augment(self.images[rows], keys, self.recipe)
            with devices.autocast(pixels.device, self.dtype):
                logits = self.model(pixels, self.generator)
            loss = F.cross_entropy(logits.float(), self.labels[rows])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            total += loss.detach() * len(rows)
            draws += len(rows)
            if on_step is not None:
                on_step(rows, logits.detach().float().softmax(1))
        return float(total) / draws

    @torch.inference_mode()
    def loss_on(self, images: Tensor, labels: Tensor) -> float:
        """Mean cross entropy on images as they are."""
        self.model.eval()
        total = torch.zeros((), device=images.device)
        for start in range(0, len(labels), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            with devices.autocast(images.device, self.dtype):
                logits = self.model(images[part].to(torch.float32) / 255)
            total += F.cross_entropy(logits.float(), labels[part], reduction="sum")
        return float(total) / len(labels)


def epoch_batches(n: int, settings: NetworkSettings, generator: torch.Generator) -> Iterator[Tensor]:
    """The rows (m,) of each batch of one epoch; m is 2 at least, since batch norm over one image is none."""
    if settings.with_replacement:
        for _ in range(max(n // settings.batch_size, settings.least_steps)):
            yield torch.randint(n, (settings.batch_size,), generator=generator, device=generator.device)
        return
    steps = -(-n // settings.batch_size)
    for _ in range(-(-settings.least_steps // steps)):
        for rows in permuted_batches(n, steps, generator):
            yield rows if len(rows) > 1 else rows.repeat(2)


class _Plateau:
    """Follows the monitored loss: keeps the best weights, lowers the learning rate, says when to stop.

    As Keras' ReduceLROnPlateau and EarlyStopping, which count alike but differ in what is better.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        self._settings = settings
        self._best_loss = self._reference = math.inf
        self._since_best = self._since_reference = self._epochs = 0
        self.best: dict[str, Tensor] = {}
        self.best_epoch = 0

    def ends(self, loss: float, training: _Training) -> bool:
        """Take note of an epoch's loss; whether it was the last epoch."""
        self._epochs += 1
        self._since_best += 1
        self._since_reference += 1
        if loss < self._best_loss or not self.best:
            self._best_loss, self._since_best, self.best_epoch = loss, 0, self._epochs
            self.best = {name: value.detach().clone() for name, value in training.model.state_dict().items()}
        if loss < self._reference - _BETTER_BY:
            self._reference, self._since_reference = loss, 0
        if self._since_reference >= self._settings.plateau_patience:
            self._since_reference = 0
            for group in training.optimizer.param_groups:
                group["lr"] = max(group["lr"] * self._settings.plateau_factor, _LEAST_LEARNING_RATE)
        return self._since_best >= self._settings.stop_patience


def _monitored(val: Samples, settings: NetworkSettings, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images and labels whose loss is watched."""
    if settings.monitored is not None and settings.monitored < len(val):
        val = val.take(np.sort(np.random.default_rng(seed).choice(len(val), settings.monitored, replace=False)))
    return on_device(val.images(), device), torch.from_numpy(val.labels.astype(np.int64)).to(device)
