"""The pool in the device's memory."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline import device as devices
from pipeline.artifacts import Int64, Uint8


class ResidentPixels:
    """All images of the pool on one device.

    Args:
        images: (N, H, W, C) uint8 in id order.
    """

    def __init__(self, images: Uint8, device: torch.device) -> None:
        self._images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().to(device)

    def fetch(self, ids: Int64) -> Tensor:
        """(n, C, H, W) uint8."""
        return self._images[devices.send(torch.from_numpy(ids), self._images.device)]
