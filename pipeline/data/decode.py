"""Image bytes -> uint8 pixels of one square size and one number of channels, decoded and resized once.

What is done to each kind of image (Pillow's modes in brackets), in this order:

* size: read from the header; more than ``max_pixels`` is rejected before anything is decoded;
* JPEG: decoded at the smallest of libjpeg's scales (1, 1/2, 1/4, 1/8) that is still at least twice
  the size wanted, where a size is wanted that small;
* several frames (TIFF, MPO): the first one;
* EXIF orientation: applied;
* 16 bits, 32 bits, floating point (I;16, I, F): the image's own minimum..maximum is scaled to 0..255,
  so that 10 or 12 bits stored in 16 are neither black nor clipped (16-bit *colour* PNGs reach us as
  8 bits: Pillow keeps their upper byte);
* alpha, or a transparent palette entry (LA, RGBA, PA, P): laid on black, as most scanners' background is;
* bilevel, palette, CMYK, YCbCr, LAB (1, P, CMYK, YCbCr, LAB): converted by Pillow, without embedded colour profiles;
* channels: 1 is ITU-R 601 luminance, 3 is RGB (grey images: three equal channels);
* resize: the centre square, bicubic with antialiasing. Shapes stay true (a squashed lesion is another
  lesion, padding would be a feature of its own); what is lost is the margin of the longer side.
  MedMNIST's own images were made the same way.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.artifacts import Uint8

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".tif", ".tiff")
"""File names that are taken as images, in lower case."""
_FORMATS = ("JPEG", "PNG", "BMP", "TIFF")
# What Pillow's parsers raise on damaged files.
_DAMAGED = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError, struct.error, zlib.error)


class UnreadableImageError(Exception):
    """The bytes are no image that can be used; the message is the reason, as ``rejected.csv`` gives it."""


def decode(data: bytes, size: int, channels: int, max_pixels: int) -> Uint8:
    """One image file's bytes -> (size, size, channels) uint8; how, is said at the top of this module.

    Args:
        channels: 1 (grey) or 3 (RGB).
        max_pixels: a larger image is refused from its header.

    Raises:
        UnreadableImageError: empty, no JPEG, PNG, BMP or TIFF, damaged, or too large.
    """
    if not data:
        raise UnreadableImageError("the file is empty")
    with _own_limits():
        image = _load(data, size, max_pixels)
        try:
            return fit(_plain(image), size, channels)
        except _DAMAGED as error:
            raise UnreadableImageError(f"cannot be converted: {error}") from error


def is_grey(data: bytes, max_pixels: int) -> bool:
    """Whether the image's red, green and blue are equal everywhere, however it is stored.

    Raises:
        UnreadableImageError: as ``decode``.
    """
    pixels = decode(data, 64, 3, max_pixels)
    return bool((pixels == pixels[..., :1]).all())


def fit(image: Image.Image, size: int | None, channels: int) -> Uint8:
    """An 8-bit image -> (H, W, channels) uint8, its centre square resized to ``size`` where one is given."""
    mode = "L" if channels == 1 else "RGB"
    if image.mode != mode:  # Pillow's convert copies an image that needs none
        image = image.convert(mode)
    if size is not None and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    pixels = np.asarray(image, np.uint8)
    return pixels.reshape(*pixels.shape[:2], channels)


def fit_array(pixels: Uint8, size: int | None, channels: int) -> Uint8:
    """One source array (H, W) or (H, W, 1 or 3) -> (H, W, channels), resized as images are where ``size`` is given."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    return fit(Image.fromarray(pixels), size, channels)


def _load(data: bytes, size: int, max_pixels: int) -> Image.Image:
    """The decoded first frame, upright."""
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
        width, height = image.size
        if width * height > max_pixels:
            raise UnreadableImageError(f"{width} x {height} pixels are more than ingest.max_pixels = {max_pixels}")
        if width * height == 0:
            raise UnreadableImageError("has no pixels")
        image.draft(image.mode, (2 * size, 2 * size))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)  # else it copies an image that stands upright already
        return image
    except UnidentifiedImageError:
        raise UnreadableImageError("not a JPEG, PNG, BMP or TIFF image, or its header is damaged") from None
    except _DAMAGED as error:
        raise UnreadableImageError(f"damaged: {error}") from error


def _plain(image: Image.Image) -> Image.Image:
    """The image with 8 bits a channel and without transparency."""
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_stretch(np.asarray(image)))
    if image.mode == "LAB":
        return image.convert("RGB")  # Pillow has no way from here to grey
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer).convert("RGB")
    return image


def _stretch(values: NDArray[np.generic]) -> Uint8:
    """Any grey levels (H, W), their minimum..maximum scaled linearly to 0..255; all zero where they are constant."""
    levels = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
    low, high = levels.min(), levels.max()
    if not np.isfinite(low) or not np.isfinite(high):
        raise UnreadableImageError("holds values that are not finite")
    if low == high:
        return np.zeros(levels.shape, np.uint8)
    return np.asarray(np.rint((levels - low) * (255 / (high - low))), np.uint8)


@contextmanager
def _own_limits() -> Iterator[None]:
    """``max_pixels`` instead of Pillow's global limit, and none of its warnings about odd metadata."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
