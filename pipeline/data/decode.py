"""Image bytes -> uint8 pixels of one square size and one number of channels.

The steps in order, with Pillow's modes in brackets:

1. Size limit: an image of more than ``max_pixels`` is rejected by its header, before decoding.
2. JPEG: decoded at the smallest of libjpeg's scales (1, 1/2, 1/4, 1/8) that is at least twice the target size,
   else in full.
3. Several frames (TIFF, MPO): only the first is used.
4. EXIF orientation is applied.
5. 16 bits, 32 bits and floating point (I;16, I, F): the image's own minimum..maximum is scaled to 0..255. So 10 or 12
   bits stored in 16 are neither black nor clipped. Of 16-bit *colour* PNGs, Pillow keeps the upper byte only.
6. Transparency (LA, RGBA, PA, P): composed onto black, the background of most scanners.
7. Bilevel, palette, CMYK, YCbCr and LAB (1, P, CMYK, YCbCr, LAB): converted by Pillow, ignoring colour profiles.
8. Channels: 1 is ITU-R 601 luminance, 3 is RGB. A grey image in RGB has three equal channels.
9. Resize: the centre square, bicubic with antialiasing, as MedMNIST's images were made. This keeps aspect ratios, since
   a squashed lesion is another lesion. The margin of the longer side is lost.
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
"""Suffixes of image files, in lower case."""
_FORMATS = ("JPEG", "PNG", "BMP", "TIFF")
# Pillow's parsers raise these on damaged files.
_DAMAGED = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError, struct.error, zlib.error)


class UnreadableImageError(Exception):
    """The bytes are no usable image. The message is the reason given in ``rejected.csv``."""


def decode(data: bytes, size: int, channels: int, max_pixels: int) -> Uint8:
    """One image file's bytes -> (size, size, channels) uint8, by the steps at the top of this module.

    Args:
        channels: 1 (grey) or 3 (RGB).
        max_pixels: larger images are rejected.

    Raises:
        UnreadableImageError: empty, damaged, too large, or no JPEG, PNG, BMP or TIFF.
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
    """Whether red, green and blue are equal in every pixel, however the image is stored.

    Raises:
        UnreadableImageError: as ``decode``.
    """
    pixels = decode(data, 64, 3, max_pixels)
    return bool((pixels == pixels[..., :1]).all())


def fit(image: Image.Image, size: int | None, channels: int) -> Uint8:
    """An 8-bit image -> (H, W, channels) uint8; where ``size`` is given, its centre square resized to that."""
    mode = "L" if channels == 1 else "RGB"
    if image.mode != mode:  # convert would copy an image that has the mode already
        image = image.convert(mode)
    if size is not None and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    pixels = np.asarray(image, np.uint8)
    return pixels.reshape(*pixels.shape[:2], channels)


def fit_array(pixels: Uint8, size: int | None, channels: int) -> Uint8:
    """As ``fit``, for an array (H, W) or (H, W, 1 or 3) uint8."""
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
        ImageOps.exif_transpose(image, in_place=True)  # otherwise it copies images that are upright already
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
        return image.convert("RGB")  # Pillow cannot convert LAB to grey
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer).convert("RGB")
    return image


def _stretch(values: NDArray[np.generic]) -> Uint8:
    """Grey levels (H, W) of any type, minimum..maximum scaled linearly to 0..255; constant images become 0."""
    levels = values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
    low, high = levels.min(), levels.max()
    if not np.isfinite(low) or not np.isfinite(high):
        raise UnreadableImageError("holds values that are not finite")
    if low == high:
        return np.zeros(levels.shape, np.uint8)
    return np.asarray(np.rint((levels - low) * (255 / (high - low))), np.uint8)


@contextmanager
def _own_limits() -> Iterator[None]:
    """Suspend Pillow's global size limit (``max_pixels`` replaces it) and its warnings about odd metadata."""
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit
