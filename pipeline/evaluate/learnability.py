"""The ground-truth dataset map: how surely a supervised training gives each sample its true class, and how steadily.

Source: Swayamdipta et al. 2020 (dataset cartography), the paper's easy-to-learn, hard-to-learn and ambiguous
(docs/method.md, section 2). It needs the label of every sample of the pool: an analysis baseline, never a strategy for
use. As in the contrastive map, the probabilities are those of the training step itself, once an epoch (decision 5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pipeline.artifacts import Float64
from pipeline.errors import InputError
from pipeline.evaluate.classifiers.resources import Resources
from pipeline.evaluate.classifiers.settings import NetworkSettings, small
from pipeline.evaluate.head import HeadSettings, fit_head
from pipeline.evaluate.samples import Samples
from pipeline.moco.confidence import ConfidenceAccumulator

HEAD = HeadSettings(dropout=0.0, least_steps=0)
"""30 epochs of a small network on frozen features."""


@dataclass(frozen=True)
class Learnability:
    """Shapes (N,): mean and standard deviation over the epochs of the true class's probability; NaN without a label."""

    mean: Float64
    std: Float64


def learnability_of_features(pool: Samples, classes: int, seed: int, settings: HeadSettings = HEAD) -> Learnability:
    """By a small network on frozen features: seconds for 12,000 samples on one core."""
    known = pool.known()
    recorder = _Recorder(known)
    features = torch.from_numpy(known.vectors())
    fit_head(features, recorder.labels, classes, seed, settings, recorder.on_step, recorder.on_epoch)
    return recorder.of(pool)


def learnability_of_images(
    pool: Samples, classes: int, seed: int, resources: Resources, epochs: int = 30
) -> Learnability:
    """By ResNet-18 on images, from scratch, with the settings of ``resources`` but every sample once an epoch."""
    from pipeline.evaluate.classifiers.model import resnet  # torchvision: only where it is used
    from pipeline.evaluate.classifiers.network import fit_network

    settings = _every_sample_once(resources.network or small(), epochs)
    known = pool.known()
    recorder = _Recorder(known, resources.device)
    fit_network(
        lambda: resnet("resnet18"),
        known,
        None,
        classes,
        seed,
        settings,
        resources.device,
        on_step=recorder.on_step,
        on_epoch=recorder.on_epoch,
    )
    return recorder.of(pool)


def _every_sample_once(settings: NetworkSettings, epochs: int) -> NetworkSettings:
    return replace(settings, epochs=epochs, stop_patience=epochs, least_steps=1, with_replacement=False)


class _Recorder:
    """Follows a training and keeps each sample's probability of its true class."""

    def __init__(self, known: Samples, device: torch.device | None = None) -> None:
        if len(known) < 2:
            raise InputError("Learnability needs the pool's labels, and fewer than two are known; give --labels.")
        self._known = known
        self.labels = torch.from_numpy(known.labels.astype(np.int64)).to(device)
        self._sums = ConfidenceAccumulator(len(known), (1.0,), repeats=1).to(device)

    def on_step(self, rows: Tensor, probability: Tensor) -> None:
        """Rows (n,) and probabilities (n, C) of one step."""
        self._sums.add(rows, probability.gather(1, self.labels[rows][:, None]))

    def on_epoch(self) -> None:
        """Every sample was seen once."""
        self._sums.end_epoch()

    def of(self, pool: Samples) -> Learnability:
        """The map of the whole pool."""
        table = self._sums.table()
        mean, std = np.full(len(pool), np.nan), np.full(len(pool), np.nan)
        mean[pool.labels >= 0] = np.asarray(table["confidence"])
        std[pool.labels >= 0] = np.asarray(table["variability"])
        return Learnability(mean, std)
