"""Named starting points: functions that return a complete configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from pipeline.config import EmbedConfig, PretrainConfig, QueryConfig, RunConfig
from pipeline.errors import InputError, did_you_mean


def medmnist() -> RunConfig:
    """The paper's setting for the MedMNIST sets (Tables 2 and 4)."""
    return RunConfig(
        preset="medmnist",
        pretrain=PretrainConfig(
            arch="resnet50", epochs=200, repeats=None, batch_size=4096, queue_size=65_536, bn_splits=8
        ),
    )


def cifar10_lt() -> RunConfig:
    """The paper's setting for CIFAR-10-LT (Table 2): no repeats."""
    return RunConfig(
        preset="cifar10-lt",
        pretrain=PretrainConfig(arch="resnet50", epochs=800, repeats=1, batch_size=512, queue_size=4096, bn_splits=8),
    )


def csval() -> RunConfig:
    """The authors' code for CIFAR-10-LT where it differs from the paper (docs/method.md, decision 2 and section 4)."""
    base = cifar10_lt()
    return replace(
        base,
        preset="csval",
        pretrain=replace(base.pretrain, weight_decay=5e-4, loss_temperature=0.1, blur=False),
        query=QueryConfig(temperature=0.001),
    )


def default() -> RunConfig:
    """A first choice that was measured to beat chance (docs/results.md): a frozen network, no training."""
    return RunConfig(
        preset="default",
        embed=EmbedConfig(features="imagenet", space="components"),
        query=QueryConfig(order="auto"),
    )


def hacon() -> RunConfig:
    """The paper's method at a size that trains in minutes on a laptop's CPU. docs/dev/log.md says how it was chosen."""
    return RunConfig(
        preset="hacon",
        pretrain=PretrainConfig(
            arch="resnet18",
            epochs=12,
            repeats=1,
            batch_size=128,
            # Four batches. In a short training the encoder changes fast, so the loss could tell older keys by their
            # age alone.
            queue_size=512,
            learning_rate=0.06,
            encoder_momentum=0.99,
            warmup_epochs=1,
            bn_splits=2,
        ),
    )


PRESETS: dict[str, Callable[[], RunConfig]] = {
    "default": default,
    "hacon": hacon,
    "medmnist": medmnist,
    "cifar10-lt": cifar10_lt,
    "csval": csval,
}
_FORMER = {"small": "hacon"}
"""Names that saved settings of older versions have."""


def preset(name: str) -> RunConfig:
    """The preset called ``name``.

    Raises:
        InputError: there is none of that name.
    """
    name = _FORMER.get(name, name)
    if name not in PRESETS:
        raise InputError(f"There is no preset '{name}'; {did_you_mean(name, PRESETS)}")
    return PRESETS[name]()
