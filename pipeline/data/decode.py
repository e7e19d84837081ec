"""Image bytes -> uint8 pixels of one square size and one number of channels.

The steps in order, with Pillow's modes in brackets:

1. Size limit: an image of more than ``max_pixels`` is rejected by its header, before decoding.
2. JPEG: decoded at the smallest of libjpeg's scales (1, 1/2, 1/4, 1/8) that is at least twice the target size,
   else in full.
3. Several pages or frames (TIFF, GIF, WebP, MPO): the first is used, or the one that is asked for.
4. EXIF orientation is applied.
5. 16 bits, 32 bits and floating point, grey or colour: the image's own range is scaled to 0..255, without the darkest
   and the brightest 0.1% (``pipeline.data.deep``). So 10 or 12 bits stored in 16 are neither black nor clipped, and one
   hot pixel does not matter. Of 16-bit colour in JPEG 2000 and AVIF, Pillow keeps the upper byte only.
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
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.artifacts import Uint8
from pipeline.data.deep import (
    TIFF_STARTS,
    NotReadError,
    is_negative,
    needs_tifffile,
    png_samples,
    ppm_samples,
    start_of_deep_ppm,
    stretched,
    tiff_pages,
    tiff_samples,
)
from pipeline.data.kinds import HEAD, OTHER, can_be_exported, kind_of

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".webp", ".avif"),
    *(".jp2", ".j2k", ".jpf", ".pgm", ".ppm", ".pbm", ".pnm"),
)
"""Suffixes of image files, in lower case. What a file is, its content says."""
PAGED_SUFFIXES = (".tif", ".tiff", ".gif", ".webp", ".avif", ".png")
_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "TIFF", "GIF", "WEBP", "AVIF", "JPEG2000", "PPM")
_WORDS = "JPEG, PNG, BMP or TIFF, nor a GIF, WebP, AVIF, JPEG 2000 or PNM"
_PAGED = ("TIFF", "GIF", "WEBP", "AVIF", "PNG")
"""Formats whose further pages or frames are images. Those of an MPO are previews and other views of the first."""
_PNG_GREY = 0
_ORIENTATION = 0x0112
# Pillow's parsers raise these on damaged files.
_DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    RuntimeError,
    TypeError,
    LookupError,
    EOFError,
    OverflowError,
    struct.error,
    zlib.error,
)


class UnreadableImageError(Exception):
    """The bytes are no usable image. The message is the reason given in ``rejected.csv``."""


def decode(data: bytes, size: int, channels: int, max_pixels: int, page: int = 0) -> Uint8:
    """One image file's bytes -> (size, size, channels) uint8, by the steps at the top of this module.

    Args:
        channels: 1 (grey) or 3 (RGB).
        max_pixels: larger images are rejected.
        page: which of the file's pages or frames.

    Raises:
        UnreadableImageError: empty, damaged, too large, or in no format that is read.
    """
    if not data:
        raise UnreadableImageError("the file is empty")
    with _own_limits():
        image = _load(data, size, max_pixels, page)
        try:
            return fit(_plain(image), size, channels)
        except _DAMAGED as error:
            raise UnreadableImageError(f"cannot be converted: {error}") from error


def pages(data: bytes) -> int:
    """How many pages or frames a file has that ``decode`` can read, by their headers. 1 where they are damaged."""
    with _own_limits():
        try:
            with Image.open(io.BytesIO(data), formats=_PAGED) as image:
                return int(getattr(image, "n_frames", 1))
        except UnidentifiedImageError:
            return max(1, tiff_pages(data)) if data.startswith(TIFF_STARTS) else 1
        except _DAMAGED:
            return 1


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


def _load(data: bytes, size: int, max_pixels: int, page: int) -> Image.Image:
    """The decoded page, upright."""
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
        width, height = image.size
        if width * height > max_pixels:
            raise UnreadableImageError(f"{width} x {height} pixels are more than ingest.max_pixels = {max_pixels}")
        if width * height == 0:
            raise UnreadableImageError("has no pixels")
        if page:
            image.seek(page)
        image.draft(image.mode, (2 * size, 2 * size))
        image = _deep(image, data, max_pixels, page) or image
        image.load()
        ImageOps.exif_transpose(image, in_place=True)  # otherwise it copies images that are upright already
        return image
    except UnidentifiedImageError:
        if data.startswith(TIFF_STARTS):
            image = _tiff(data, page, max_pixels)
            ImageOps.exif_transpose(image, in_place=True)
            return image
        raise UnreadableImageError(f"not a {_WORDS} image, {_instead(data)}") from None
    except _DAMAGED as error:
        raise UnreadableImageError(f"damaged: {error}") from error


def _instead(data: bytes) -> str:
    kind = kind_of(OTHER, data[:HEAD])
    return f"but by its content: {kind}" if can_be_exported(kind) else "or its header is damaged"


def _deep(image: Image.Image, data: bytes, max_pixels: int, page: int) -> Image.Image | None:
    """An image of 8 bits, where Pillow would lose levels of the opened one; else None."""
    orientation = image.getexif().get(_ORIENTATION, 1) if image.format == "PNG" else 1
    if image.format == "PNG" and data[24] == 16 and (data[25] != _PNG_GREY or "transparency" in image.info):
        return png_samples(data, orientation).image()
    if image.format == "PPM" and image.mode == "RGB" and (at := start_of_deep_ppm(image)) is not None:
        return ppm_samples(data, at, image.size).image()
    if image.format == "TIFF" and needs_tifffile(image):
        return _tiff(data, page, max_pixels)
    return None


def _tiff(data: bytes, page: int, max_pixels: int) -> Image.Image:
    try:
        samples = tiff_samples(data, page, max_pixels)
        return samples if isinstance(samples, Image.Image) else samples.image()
    except NotReadError as error:
        raise UnreadableImageError(str(error)) from None
    except Exception as error:  # tifffile's parser raises many kinds on damaged files
        raise UnreadableImageError(f"its header is damaged, or it ends early: {error}") from error


def _plain(image: Image.Image) -> Image.Image:
    """The image with 8 bits a channel and without transparency."""
    if image.mode.startswith(("I", "F")):
        try:
            grey = stretched(np.asarray(image))
        except NotReadError as error:
            raise UnreadableImageError(str(error)) from None
        return Image.fromarray(255 - grey if is_negative(image) else grey)
    if image.mode == "LAB":
        return image.convert("RGB")  # Pillow cannot convert LAB to grey
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer).convert("RGB")
    return image


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
