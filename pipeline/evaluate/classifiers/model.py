"""The networks that are trained on a query: pixels in [0, 1] -> logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.data.views import normalise
from pipeline.errors import InputError
from pipeline.evaluate.head import Head
from pipeline.moco.model import build_encoder

INCEPTION = "inception_resnet_v2"


@dataclass(frozen=True)
class Backbone:
    """A network without its classifier: (n, 3, H, W) normalised pixels -> (n, width)."""

    network: nn.Module
    width: int
    normalise: Callable[[Tensor], Tensor] = normalise
    """(n, 1 or 3, H, W) in [0, 1] -> what the network takes."""


class ImageClassifier(nn.Module):
    """A backbone and a head. Normalises its pixels itself, and enlarges them where it is told to.

    Args:
        image_size: side to which images are enlarged; none: as they are.
    """

    def __init__(self, backbone: Backbone, head: Head, image_size: int | None) -> None:
        super().__init__()
        self.backbone, self.normalise = backbone.network, backbone.normalise
        self.head, self.image_size = head, image_size

    def embed(self, pixels: Tensor) -> Tensor:
        """(n, 1 or 3, H, W) in [0, 1] -> (n, width)."""
        if self.image_size is not None and tuple(pixels.shape[2:]) != (self.image_size, self.image_size):
            pixels = F.interpolate(pixels, (self.image_size, self.image_size), mode="bilinear", align_corners=False)
        return self.backbone(self.normalise(pixels))

    def forward(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Logits (n, C); dropout before the head is on where a generator is given."""
        return self.head(self.embed(pixels), generator)


def resnet(arch: str, weights: Mapping[str, Tensor] | None = None) -> Backbone:
    """MoCo's encoder without its projection head.

    Args:
        weights: of ``moco.model.build_encoder``'s module, as pre-training left them; none: fresh ones.
    """
    encoder = build_encoder(arch, projection_dim=1 if weights is None else len(weights["fc.2.bias"]))
    if weights is not None:
        encoder.load_state_dict(dict(weights))
    first = encoder.get_submodule("fc.0")
    assert isinstance(first, nn.Linear)
    encoder.fc = nn.Identity()
    return Backbone(encoder, first.in_features)


def inception_resnet_v2(weights: str | None = None) -> Backbone:
    """timm's Inception-ResNet-v2 without its classifier.

    Its convolutions are padded to keep their maps' size, as in the authors' Keras backbone. Without that the network
    needs images of 75 pixels; the authors' have 48, and the paper's 28. The weights are the same with and without.

    Args:
        weights: a safetensors file of timm's ImageNet weights; none: fresh ones.

    Raises:
        InputError: no such file, or not of this network.
    """
    import timm  # two seconds, for this classifier alone

    network = timm.create_model(INCEPTION, pretrained=False, num_classes=0)
    if weights is not None:
        _load(network, weights)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.padding == (0, 0):
            layer.padding = (layer.kernel_size[0] // 2, layer.kernel_size[1] // 2)
        elif isinstance(layer, nn.MaxPool2d):
            layer.padding = 1
    width = network.num_features
    assert isinstance(width, int)
    return Backbone(network.to(memory_format=torch.channels_last), width, _minus_one_to_one)


def _minus_one_to_one(pixels: Tensor) -> Tensor:
    """Inception's own normalisation, which its ImageNet weights expect."""
    return (2 * pixels - 1).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def _load(network: nn.Module, file: str) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not Path(file).is_file():
        raise InputError(f"There is no file '{file}' with ImageNet weights; check the path, or train from scratch.")
    try:
        tensors = {name: tensor for name, tensor in load_file(file).items() if not name.startswith("classif.")}
        network.load_state_dict(tensors)
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"'{file}' does not hold timm's weights of {INCEPTION} ({reason}); get the safetensors file of that model."
        ) from None
