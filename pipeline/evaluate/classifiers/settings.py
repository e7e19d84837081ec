"""How networks are trained on a query: the paper's numbers, its authors' code's, and some for a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.errors import InputError, did_you_mean


@dataclass(frozen=True)
class NetworkSettings:
    """A supervised training on images; the defaults are Table 5's.

    What Table 5 leaves open is as the authors' code has it: no momentum, no weight decay, the best epoch's
    weights kept.
    """

    epochs: int = 10_000
    """At most."""
    batch_size: int = 128
    least_steps: int = 1
    """Steps of an epoch at least; a query smaller than that many batches is gone through several times."""
    with_replacement: bool = False
    """Whether a batch is drawn from the whole query each time, instead of going through permutations of it."""
    learning_rate: float = 0.1
    momentum: float = 0.0
    plateau_factor: float = 0.5
    plateau_patience: int = 8
    """Epochs without a better monitored loss after which the learning rate is lowered."""
    stop_patience: int = 50
    """Epochs without a better monitored loss after which training ends."""
    monitored: int | None = None
    """Images of the validation split that are monitored, drawn once; none: all of it."""
    image_size: int | None = None
    """Images are enlarged to this side after augmentation; none: as they are."""
    fade: Literal["noise", "darken"] = "noise"
    head_units: int = 0
    """Units of a hidden layer before the classes; 0: none."""


def paper() -> NetworkSettings:
    """Table 5 (docs/method.md, decision 13)."""
    return NetworkSettings()


def csval() -> NetworkSettings:
    """What the authors' code does (docs/method.md, decisions 13 and 14).

    Not taken over: it augments the validation images too and draws them with replacement, which only adds noise
    to what is monitored.
    """
    return NetworkSettings(
        least_steps=50,
        with_replacement=True,
        plateau_patience=4,
        stop_patience=5,
        image_size=48,
        fade="darken",
        head_units=256,
    )


def small() -> NetworkSettings:
    """For a CPU: some 120 images of 28 x 28 in about 20 seconds on two slow cores, with ResNet-18.

    The rate was looked for on the validation split of one set of blood cells: .01 of .01, .02, .05.
    """
    return NetworkSettings(
        epochs=7,
        batch_size=32,
        least_steps=20,
        learning_rate=0.01,
        momentum=0.9,
        plateau_patience=2,
        stop_patience=7,
        monitored=256,
    )


NETWORK_SETTINGS = {"paper": paper, "csval": csval, "small": small}


def network_settings(name: str) -> NetworkSettings:
    """The settings called ``name``.

    Raises:
        InputError: there are none of that name.
    """
    if name not in NETWORK_SETTINGS:
        raise InputError(f"There are no network settings '{name}'; {did_you_mean(name, NETWORK_SETTINGS)}")
    return NETWORK_SETTINGS[name]()
