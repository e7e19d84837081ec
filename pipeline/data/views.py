"""Augmented views of a whole batch at once, on the device (Table 3 of the paper).

Crop, flip and blur are separable and linear, so both axes of a view are one small matrix each:
``view = A_y @ image @ A_x.T``. Jitter and greyscale are two matrices, by a pixel's and by the mean colours. No Python
per image. n = images, C = channels, H, W = pixels.

Where this departs from a chain of torchvision transforms:

* Values are clamped to [0, 1] once, at the end, instead of after each step.
* The hue shift turns the colours about the grey axis, which is linear. It gives the hue of torchvision's HSV shift
  within about two degrees, and keeps the mean where HSV keeps the maximum.
* The rotation of grey scans samples the crop in the same pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline import device as devices
from pipeline.data.random_streams import uniform

_LUMA = (0.2989, 0.587, 0.114)
"""Weights of grey that torchvision's rgb_to_grayscale uses."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, of pixels from 0 to 1."""
_CROP_TRIES = 10
_BLUR_RADIUS = 6
_DRAWS = 2 * _CROP_TRIES + 16


@dataclass(frozen=True)
class Recipe:
    """Probabilities and ranges of the augmentations; the defaults are Table 3's for RGB."""

    min_area: float = 0.08
    aspect: float = 4 / 3
    flip: float = 0.5
    jitter: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    grey: float = 0.2
    blur: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    rotation: float = 0.0
    """Largest angle in degrees, to both sides."""


RGB = Recipe()
GREY = Recipe(grey=0.0, blur=0.0, rotation=45.0)


def recipe_for(name: str, channels: int, blur: bool) -> Recipe:
    """``name`` is auto (by the number of channels), rgb or grey."""
    base = (GREY if channels == 1 else RGB) if name == "auto" else {"rgb": RGB, "grey": GREY}[name]
    return base if blur else Recipe(**{**vars(base), "blur": 0.0})


class AugmentationParameters(NamedTuple):
    """What is done to each of n images, drawn without looking at them."""

    box: Tensor
    """(n, 4) of the crop, see ``crop_boxes``."""
    flip: Tensor
    """(n,) bool."""
    degrees: Tensor
    """(n,) of the rotation."""
    sigma: Tensor
    """(n,) of the blur; 0: none."""
    colours: Tensor
    """(n, C, 2 C): by a pixel's colours from 0 to 255, and by the image's mean ones; gives colours from 0 to 1."""

    def part(self, rows: slice) -> AugmentationParameters:
        """Of some of the images."""
        return AugmentationParameters(*(each[rows] for each in self))


def make_views(images: Tensor, keys: Tensor, recipe: Recipe) -> Tensor:
    """One augmented, normalised view of each image.

    Args:
        images: (n, C, H, W) uint8, C = 1 or 3.
        keys: (n,) int64, see ``random_streams.stream_keys``.

    Returns:
        (n, 3, H, W) float32, channels last; grey images are repeated to three channels.
    """
    return augment(images, augmentation_parameters(keys, tuple(images.shape[1:]), recipe), recipe)


def augmentation_parameters(keys: Tensor, shape: tuple[int, ...], recipe: Recipe) -> AugmentationParameters:
    """The first half of ``make_views``: many small operations, for as many views at once as can be.

    Args:
        shape: C, H, W of an image.
    """
    channels, height, width = shape
    draws = uniform(keys, _DRAWS)
    u = draws[:, -14:].unbind(1)
    sigma = recipe.blur_sigma[0] + u[2] * (recipe.blur_sigma[1] - recipe.blur_sigma[0])
    return AugmentationParameters(
        box=crop_boxes(draws[:, : 2 * _CROP_TRIES], draws[:, -16:-14], height, width, recipe),
        flip=u[0] < recipe.flip,
        degrees=(2 * u[1] - 1) * recipe.rotation,
        sigma=torch.where(u[3] < recipe.blur, sigma, torch.zeros_like(sigma)),
        colours=_colours(draws[:, -10:], channels, recipe),
    )


def augment(images: Tensor, drawn: AugmentationParameters, recipe: Recipe) -> Tensor:
    """The second half of ``make_views``."""
    height, width = images.shape[-2:]
    if recipe.rotation:
        pixels, inside = rotated_crop(images.to(torch.float32), drawn.box, drawn.flip, drawn.degrees)
    else:
        inside = None
        pixels = _resampled(images, *_axes(drawn, height, width, recipe))
    by_pixel, by_mean = drawn.colours.chunk(2, 2)
    offset = by_mean @ pixels.mean((2, 3))[:, :, None]
    pixels = torch.baddbmm(offset, by_pixel, pixels.flatten(2)).view_as(pixels)
    if inside is not None:
        pixels = pixels * inside
    return normalise(pixels.clamp_(0, 1))


def normalise(pixels: Tensor) -> Tensor:
    """[0, 1] pixels (n, 1 or 3, H, W) -> the network's input (n, 3, H, W), by ImageNet's mean and deviation."""
    mean = devices.constant(MEAN, pixels.device)[:, None, None]
    std = devices.constant(STD, pixels.device)[:, None, None]
    return (pixels - mean).div_(std).contiguous(memory_format=torch.channels_last)


def crop_boxes(tries: Tensor, place: Tensor, height: int, width: int, recipe: Recipe) -> Tensor:
    """Boxes of torchvision's RandomResizedCrop: up to ten tries at an area and aspect, else the whole image.

    Args:
        tries: (n, 2 * tries) uniforms; place: (n, 2) uniforms.

    Returns:
        (n, 4) float32 whole numbers: top, left, height, width.
    """
    area = height * width * (recipe.min_area + tries[:, 0::2] * (1 - recipe.min_area))
    aspect = torch.exp((2 * tries[:, 1::2] - 1) * math.log(recipe.aspect))
    wide, tall = (area * aspect).sqrt().round(), (area / aspect).sqrt().round()
    fits = (wide >= 1) & (wide <= width) & (tall >= 1) & (tall <= height)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)
    any_fits = fits.any(1)
    # Near-square images, as pools hold, make the fallback rare enough that its exact shape does not matter.
    w = torch.where(any_fits, wide.gather(1, first)[:, 0], torch.full_like(any_fits, width, dtype=wide.dtype))
    h = torch.where(any_fits, tall.gather(1, first)[:, 0], torch.full_like(any_fits, height, dtype=tall.dtype))
    top = (place[:, 0] * (height - h + 1)).floor()
    left = (place[:, 1] * (width - w + 1)).floor()
    return torch.stack([top, left, h, w], 1)


def _axes(drawn: AugmentationParameters, height: int, width: int, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Crop, flip and blur of rows (n, H, H) and of columns (n, W, W)."""
    upright = torch.zeros_like(drawn.flip)
    if height == width:  # both at once: half as many operations
        start, length = drawn.box.T.reshape(2, -1)
        rows, columns = resize_matrix(start, length, height, torch.cat([upright, drawn.flip])).chunk(2)
    else:
        rows = resize_matrix(drawn.box[:, 0], drawn.box[:, 2], height, upright)
        columns = resize_matrix(drawn.box[:, 1], drawn.box[:, 3], width, drawn.flip)
    if recipe.blur:
        blur = blur_matrix(drawn.sigma, height)
        rows, columns = blur @ rows, (blur if height == width else blur_matrix(drawn.sigma, width)) @ columns
    return rows, columns


def _resampled(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows @ image @ columns.T, channel by channel: (n, C, H, W), rows (n, H, H), columns (n, W, W)."""
    n, channels, height, width = images.shape
    # Colours between rows and columns, so that either product is one of plain matrices, without a copy a channel. The
    # columns' comes out transposed: a product is several times as fast with its long axis (height x C) last.
    pixels = images.permute(0, 2, 1, 3).to(torch.float32, memory_format=torch.contiguous_format)
    pixels = rows @ pixels.view(n, height, channels * width)
    pixels = columns @ pixels.view(n, height * channels, width).transpose(1, 2)
    return pixels.view(n, width, height, channels).permute(0, 3, 2, 1)


def resize_matrix(start: Tensor, length: Tensor, size: int, flip: Tensor) -> Tensor:
    """The matrix that crops, resizes (bilinear) and flips along one axis.

    Args:
        start, length: (n,) crop in source pixels. flip: (n,) bool.

    Returns:
        (n, size, size): output index by source index; every row sums to 1.
    """
    index = torch.arange(size, device=start.device, dtype=torch.float32)
    at = _source_coordinates(index, start, length, size)
    at = torch.where(flip[:, None], at.flip(1), at)
    return (at[:, :, None] - index).abs_().neg_().add_(1).clamp_min_(0)


def _source_coordinates(index: Tensor, start: Tensor, length: Tensor, size: int) -> Tensor:
    """Pixel centres of the output in the source, kept inside the crop as resizing the cut-out crop would. (n, size)"""
    at = start[:, None] + (index + 0.5) * (length / size)[:, None] - 0.5
    return torch.minimum(torch.maximum(at, start[:, None]), (start + length - 1)[:, None])


def blur_matrix(sigma: Tensor, size: int) -> Tensor:
    """Gaussian blur along one axis with reflected borders, as torchvision's gaussian_blur.

    Args:
        sigma: (n,) in output pixels; 0: no change.

    Returns:
        (n, size, size): output index by source index; every row sums to 1.
    """
    # Linear in the few taps of the kernel, so that no exponential is taken for each of size x size places.
    radius = min(_BLUR_RADIUS, size - 1)
    distance = torch.arange(radius + 1, device=sigma.device, dtype=torch.float32)
    # Of no blur the tap at distance 0 alone: 0 / the smallest number is 0, any other distance over it e to -infinity.
    taps = torch.exp(-0.5 * (distance / sigma.clamp_min(torch.finfo(sigma.dtype).tiny)[:, None]) ** 2)
    taps = taps / (2 * taps.sum(1, keepdim=True) - 1)
    return (taps @ _tap_places(radius, size, sigma.device)).view(-1, size, size)


@cache
def _tap_places(radius: int, size: int, device: torch.device) -> Tensor:
    """(radius + 1, size * size): how often output i takes source j at each distance, mirrored at both edges."""
    i = torch.arange(size, device=device)
    distance = torch.arange(radius + 1, device=device)[:, None, None]
    edge = size - 1
    direct = (i[:, None] - i).abs() == distance
    low = ((i[:, None] + i) == distance) & (i > 0)
    high = ((2 * edge - i[:, None] - i) == distance) & (i < edge)
    return (direct.float() + low.float() + high.float()).flatten(1)


def rotated_crop(pixels: Tensor, box: Tensor, flip: Tensor, degrees: Tensor) -> tuple[Tensor, Tensor]:
    """Crop, flip, resize and then rotate about the centre, in one bilinear sampling.

    Returns:
        the views (n, C, H, W), and the mask (n, 1, H, W) of what lies inside the turned image (outside is black).
    """
    height, width = pixels.shape[-2:]
    y = torch.arange(height, device=pixels.device, dtype=torch.float32)[:, None] - (height - 1) / 2
    x = torch.arange(width, device=pixels.device, dtype=torch.float32)[None, :] - (width - 1) / 2
    radians = torch.deg2rad(degrees)[:, None, None]
    turned_x = x * radians.cos() - y * radians.sin() + (width - 1) / 2
    turned_y = x * radians.sin() + y * radians.cos() + (height - 1) / 2
    inside = (turned_x >= -0.5) & (turned_x <= width - 0.5) & (turned_y >= -0.5) & (turned_y <= height - 0.5)
    turned_x = torch.where(flip[:, None, None], width - 1 - turned_x, turned_x)
    top, left, tall, wide = (box[:, i, None, None] for i in range(4))
    source_y = top + ((turned_y + 0.5) * tall / height - 0.5).clamp_min(0).minimum(tall - 1)
    source_x = left + ((turned_x + 0.5) * wide / width - 0.5).clamp_min(0).minimum(wide - 1)
    grid = torch.stack([(2 * source_x + 1) / width - 1, (2 * source_y + 1) / height - 1], -1)
    return F.grid_sample(pixels, grid, align_corners=False), inside[:, None].to(pixels.dtype)


def _colours(u: Tensor, channels: int, recipe: Recipe) -> Tensor:
    """Jitter in a random order, then greyscale: ``AugmentationParameters.colours``. u: (n, 10) uniforms."""
    jittered = u[:, 0] < recipe.jitter
    ranges = devices.constant((recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue), u.device)
    factors = (2 * u[:, 1:5] - 1) * ranges
    factors = torch.where(jittered[:, None], factors, torch.zeros_like(factors))
    colours = torch.cat(colour_map(factors, u[:, 5:9].argsort(1), channels), 2) / 255
    if channels == 3:
        grey = u[:, 9] < recipe.grey
        to_grey = devices.constant(_LUMA, u.device).expand(3, 3)
        colours = torch.where(grey[:, None, None], to_grey @ colours, colours)
    return colours


def colour_map(factors: Tensor, order: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Brightness, contrast, saturation and hue, applied in ``order``, as one linear map of each image's colours.

    Args:
        factors: (n, 4): brightness - 1, contrast - 1, saturation - 1, hue in turns; zeros change nothing.
        order: (n, 4) permutation: which of the four comes first, second, ...

    Returns:
        two matrices (n, C, C): by a pixel's colours, and by the image's mean colours, since contrast blends with the
        mean grey of what it is given.
    """
    n = len(factors)
    luma = devices.constant(_LUMA if channels == 3 else (1.0,), factors.device)
    eye = torch.eye(channels, device=factors.device).expand(n, channels, channels)
    brightness, contrast, saturation, hue = factors.unbind(1)
    scale = (1 + brightness)[:, None, None] * eye
    stretch = (1 + contrast)[:, None, None] * eye
    saturate = torch.lerp(luma.expand(n, channels, channels), eye, (1 + saturation)[:, None, None])
    steps = torch.stack([scale, stretch, saturate, _hue_matrix(hue) if channels == 3 else eye], 1)
    steps = steps[torch.arange(n, device=factors.device)[:, None], order]
    pull = -contrast[:, None] * (order == 1)
    by_pixel, by_mean = eye, torch.zeros_like(eye)
    for slot in range(4):
        step, grey = steps[:, slot], luma @ (by_pixel + by_mean)
        by_pixel, by_mean = step @ by_pixel, step @ by_mean + pull[:, slot, None, None] * grey[:, None]
    return by_pixel, by_mean


def _hue_matrix(turns: Tensor) -> Tensor:
    """Rotation of the colours about the grey axis: turns every hue, keeps grey. (n,) -> (n, 3, 3)."""
    cos, sin = torch.cos(2 * math.pi * turns), torch.sin(2 * math.pi * turns) / math.sqrt(3)
    rest = (1 - cos) / 3
    same, back, forth = cos + rest, rest - sin, rest + sin
    return torch.stack([same, back, forth, forth, same, back, back, forth, same], 1).view(-1, 3, 3)
