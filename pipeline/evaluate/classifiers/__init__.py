"""The models that are trained on a query and judged on the test split, all behind one signature.

``probe`` (logistic regression on frozen features), ``resnet18`` (from scratch), ``finetune`` (ResNet from the
MoCo weights), ``paper`` and ``csval`` (Inception-ResNet-v2 with Table 5's and the authors' code's settings).
"""

from __future__ import annotations

from typing import Protocol

from pipeline.artifacts import Float64
from pipeline.errors import InputError, did_you_mean
from pipeline.evaluate.classifiers.probe import fit_probe
from pipeline.evaluate.classifiers.resources import Resources
from pipeline.evaluate.classifiers.settings import NETWORK_SETTINGS, NetworkSettings, network_settings
from pipeline.evaluate.samples import Samples

__all__ = [
    "CLASSIFIERS",
    "NETWORK_SETTINGS",
    "Fitted",
    "NetworkSettings",
    "Resources",
    "check_classifier",
    "fit",
    "fit_predict",
    "network_settings",
]

CLASSIFIERS = ("probe", "resnet18", "finetune", "paper", "csval")


class Fitted(Protocol):
    """A trained classifier."""

    @property
    def note(self) -> str:
        """What was remarkable about the training, in words; what differs from trial to trial stands after a "; "."""

    def predict(self, samples: Samples) -> Float64:
        """(n, C) class probabilities."""


def check_classifier(name: str) -> None:
    """Raise InputError where there is no classifier of that name."""
    if name not in CLASSIFIERS:
        raise InputError(f"There is no classifier '{name}'; {did_you_mean(name, CLASSIFIERS)}")


def fit(
    name: str, train: Samples, val: Samples | None, classes: int, seed: int, resources: Resources, dropout: float = 0.0
) -> Fitted:
    """Train the classifier ``name`` on the samples of ``train`` whose label is known.

    Args:
        val: watched while a network trains, never trained on; none, or none with a label: the training loss is watched.
        classes: C.
        dropout: before a network's head; the probe has none.

    Raises:
        InputError: no such classifier, nothing labelled, or what it needs is missing.
    """
    check_classifier(name)
    train = train.known()
    if not len(train):
        raise InputError(f"The classifier '{name}' was given no labelled sample; label some of the query first.")
    if name == "probe":
        return fit_probe(train, classes)
    from pipeline.evaluate.classifiers.images import fit_images  # torchvision: seconds that a probe need not wait for

    watched = None if val is None or not len(val.known()) else val.known()
    return fit_images(name, train, watched, classes, seed, resources, dropout)


def fit_predict(
    name: str, train: Samples, val: Samples | None, test: Samples, classes: int, seed: int, resources: Resources
) -> Float64:
    """(n_test, C) probabilities of the classifier ``name`` trained on ``train``; see ``fit``."""
    return fit(name, train, val, classes, seed, resources).predict(test)
