"""The encoder that a run trains, as a function of images."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import device as devices
from pipeline.artifacts import Float32, Uint8
from pipeline.data.views import MEAN, STD
from pipeline.moco.model import build_encoder, fold_batch_norms


class Embedder:
    """The trained query encoder without its projection head (features h, docs/method.md, decision 7).

    Args:
        weights: of ``build_encoder``'s module, as pre-training left them.
        arch: which ResNet.
    """

    def __init__(self, weights: Mapping[str, Tensor], arch: str, device: torch.device) -> None:
        with torch.device("meta"):  # else first weights are drawn, only to be replaced
            encoder = build_encoder(arch, projection_dim=len(weights["fc.2.bias"]))
        encoder.load_state_dict(dict(weights), assign=True)
        self.dimensions = len(weights["fc.0.bias"])
        encoder.fc = nn.Identity()
        folded = fold_batch_norms(encoder.eval().to(memory_format=torch.channels_last))
        self._encoder, self._mean = _fold_normalisation(folded).to(device), 255 * devices.constant(MEAN, device)
        self._device = device
        self._dtype, _ = devices.choose_precision("auto", device)

    @torch.inference_mode()
    def __call__(self, images: Uint8) -> Float32:
        """(n, H, W, C) uint8 -> (n, D) float32 of norm 1."""
        # A copy, since Arrow's buffers are read-only and torch wants to own what it holds.
        pixels = torch.from_numpy(images.copy()).to(self._device).expand(-1, -1, -1, len(MEAN))
        # Whole rows of pixels: along an axis of three numbers it is three times as slow.
        centred = pixels.flatten(2) - self._mean.repeat(pixels.shape[2])
        with devices.autocast(self._device, self._dtype):
            features = self._encoder(centred.view(pixels.shape).permute(0, 3, 1, 2))
        return F.normalize(features.float(), dim=1).cpu().numpy()


def _fold_normalisation(encoder: nn.Module) -> nn.Module:
    """In place: from 0 .. 255, only the mean taken off, instead of ``views.normalise`` of 0 .. 1.

    The mean stays outside: it is what the first convolution's padding stands for.
    """
    stem = next(layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d))
    deviation = 255 * torch.tensor(STD)
    stem.weight = nn.Parameter(stem.weight / deviation[:, None, None])
    return encoder
