"""The pool in the device's memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline import device as devices
from pipeline import dist
from pipeline.artifacts import Int64, Uint8
from pipeline.data.sampler import Step


class ResidentPixels:
    """All images of the pool on one device.

    Args:
        pool: (N, C, H, W) uint8 in id order.
    """

    def __init__(self, pool: Tensor) -> None:
        self._pool = pool

    @classmethod
    def of_parts(
        cls, parts: Iterable[tuple[Int64, Uint8]], shape: tuple[int, ...], device: torch.device
    ) -> ResidentPixels:
        """From (ids (m,), images (m, H, W, C)) that hold every id once: on the host there is one part at a time.

        Args:
            shape: N, H, W, C.
        """
        size, height, width, channels = shape
        pool = torch.empty(size, channels, height, width, dtype=torch.uint8, device=device)
        for ids, images in parts:
            pool[torch.from_numpy(ids).to(device)] = torch.from_numpy(images).to(device).permute(0, 3, 1, 2)
        return cls(pool)

    @classmethod
    def of_array(cls, images: Uint8, device: torch.device) -> ResidentPixels:
        """From (N, H, W, C) in id order."""
        return cls.of_parts([(np.arange(len(images)), images)], images.shape, device)

    def fetch(self, step: Step, parts: Sequence[slice]) -> tuple[Tensor, Tensor]:
        """As ``train.Pixels`` has it."""
        mine = parts[dist.rank()]
        return self.of(step.ids[mine]), self.of(step.ids[step.shuffle[mine]])

    def of(self, ids: Int64) -> Tensor:
        """(n, C, H, W) uint8, in the order of ids (n,)."""
        # Not self._pool[ids], which goes pixel by pixel.
        return self._pool.index_select(0, devices.send(torch.from_numpy(ids), self._pool.device))
