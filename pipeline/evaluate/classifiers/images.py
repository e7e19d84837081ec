"""The classifiers that train on images: which network, from which weights, with which settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pipeline.errors import InputError
from pipeline.evaluate.classifiers.model import Backbone, inception_resnet_v2, resnet
from pipeline.evaluate.classifiers.network import FittedNetwork, fit_network
from pipeline.evaluate.classifiers.resources import Resources
from pipeline.evaluate.classifiers.settings import NetworkSettings, csval, paper, small
from pipeline.evaluate.samples import Samples


@dataclass(frozen=True)
class _Network:
    build: Callable[[Resources], Backbone]
    settings: Callable[[], NetworkSettings]
    """Where the resources name none."""
    origin: Callable[[Resources], str]
    """In words."""


def _inception(resources: Resources) -> Backbone:
    return inception_resnet_v2(resources.imagenet_weights)


def _inception_origin(resources: Resources) -> str:
    return f"Inception-ResNet-v2 from {'ImageNet weights' if resources.imagenet_weights else 'scratch'}"


_NETWORKS = {
    "resnet18": _Network(lambda _: resnet("resnet18"), small, lambda _: "ResNet-18 from scratch"),
    "finetune": _Network(
        lambda given: resnet(given.arch, given.encoder), small, lambda given: f"{given.arch} from the MoCo weights"
    ),
    "paper": _Network(_inception, paper, _inception_origin),
    "csval": _Network(_inception, csval, _inception_origin),
}


def fit_images(
    name: str, train: Samples, val: Samples | None, classes: int, seed: int, resources: Resources, dropout: float
) -> FittedNetwork:
    """Train the network classifier ``name``; see ``classifiers.fit``."""
    if name == "finetune" and resources.encoder is None:
        raise InputError("The classifier 'finetune' starts from MoCo weights, and there are none; pre-train first.")
    kind = _NETWORKS[name]
    settings = kind.settings() if resources.network is None else resources.network
    fitted = fit_network(
        lambda: kind.build(resources), train, val, classes, seed, settings, resources.device, dropout=dropout
    )
    return replace(fitted, note=f"{kind.origin(resources)}, {fitted.note}")
