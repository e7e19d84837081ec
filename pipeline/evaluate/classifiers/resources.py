"""What classifiers need beside samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipeline.evaluate.classifiers.settings import NetworkSettings


@dataclass(frozen=True)
class Resources:
    """A machine and its files; the defaults are enough for ``probe`` and ``resnet18``."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    encoder: Mapping[str, Tensor] | None = None
    """The MoCo weights, for ``finetune``."""
    arch: str = "resnet18"
    """The ResNet that ``encoder`` belongs to."""
    imagenet_weights: str | None = None
    """A safetensors file of timm's Inception-ResNet-v2; none: from scratch."""
    network: NetworkSettings | None = None
    """How networks are trained; none: ``small`` for resnet18 and finetune, the classifier's own for paper and csval."""
