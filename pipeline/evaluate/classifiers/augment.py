"""Table 5's augmentations for a whole batch at once, on the device, drawn by key like ``data.views``.

n = images, C = channels, H, W = pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pipeline.data.random_streams import splitmix64, uniform

_DRAWS = 8


@dataclass(frozen=True)
class Augmentation:
    """Probabilities; the defaults are Table 5's."""

    flip: float = 0.5
    """About either axis, each as likely (the authors' code; Table 5 does not say)."""
    rotate: float = 0.5
    """By 90, 180 or 270 degrees, each as likely; an image that is not square by 180."""
    invert: float = 0.1
    fade: float = 0.1
    fade_kind: Literal["noise", "darken"] = "noise"
    """noise: 80% uniform noise, 20% image (the paper); darken: times U(0.2, 1) (decision 14)."""


def augment(images: Tensor, keys: Tensor, recipe: Augmentation) -> Tensor:
    """One augmented copy of each image.

    Args:
        images: (n, C, H, W) uint8, C = 1 or 3.
        keys: (n,) int64, see ``random_streams.stream_keys``.

    Returns:
        (n, C, H, W) float32 in [0, 1].
    """
    u = uniform(keys, _DRAWS).unbind(1)
    pixels = _flip(images, u[0] < recipe.flip, u[1] < 0.5)
    pixels = _rotate(pixels, torch.where(u[2] < recipe.rotate, 1 + (3 * u[3]).to(torch.int64), 0))
    pixels = pixels.to(torch.float32) / 255
    pixels = torch.where(_of_image(u[4] < recipe.invert), 1 - pixels, pixels)
    return torch.where(_of_image(u[5] < recipe.fade), _faded(pixels, u[6], keys, recipe.fade_kind), pixels)


def _faded(pixels: Tensor, u: Tensor, keys: Tensor, kind: str) -> Tensor:
    if kind == "darken":
        return pixels * _of_image(0.2 + 0.8 * u)
    noise = uniform(splitmix64(keys), pixels[0].numel()).view_as(pixels)
    return 0.8 * noise + 0.2 * pixels


def _flip(images: Tensor, flipped: Tensor, upright: Tensor) -> Tensor:
    images = torch.where(_of_image(flipped & upright), images.flip(3), images)
    return torch.where(_of_image(flipped & ~upright), images.flip(2), images)


def _rotate(images: Tensor, quarters: Tensor) -> Tensor:
    square = images.shape[2] == images.shape[3]
    for turn in (1, 2, 3):
        turned = torch.rot90(images, turn if square else 2, dims=(2, 3))
        images = torch.where(_of_image(quarters == turn), turned, images)
        # An image is rotated once.
        quarters = torch.where(quarters == turn, 0, quarters)
    return images


def _of_image(value: Tensor) -> Tensor:
    return value[:, None, None, None]
