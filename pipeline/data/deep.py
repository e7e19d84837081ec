"""Images of more than 8 bits a sample, and TIFFs that Pillow does not open -> 8 bits.

Pillow keeps the upper byte of 16-bit colour: 12 bits stored in 16 have 16 levels left of 4,096. So such PNGs are read
by torchvision's libpng, such TIFFs by tifffile, and such PPMs here.

The range: the darkest and the brightest 0.1% of the pixels, one at least, do not count for it, since one hot pixel
would make all others black. What is outside becomes 0 or 255. Where nothing is left between the two (a few bright spots
on an even ground), minimum and maximum are taken. All colours of an image share one range, so hues stay.

Shapes: H, W of the image; C = 1 (grey) or 3 (RGB).
"""

from __future__ import annotations

import io
import logging
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.artifacts import Uint8

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_CLIPPED = 0.001
_MOST_BYTES = 16
"""Of a pixel of a TIFF, for each of ``max_pixels``: what is larger than that altogether is not read."""
_BY_LIBTIFF = {5: "LZW", 50000: "ZSTD"}
"""Compressions that tifffile alone lacks, and Pillow's libtiff has."""
_DEFLATE = 8
_ORIENTATION = 0x0112

Values = NDArray[Any]


class NotReadError(ValueError):
    """A valid file of a kind that is not read. The message says which."""


@dataclass(frozen=True)
class Samples:
    """A decoded image."""

    colours: Values
    """(H, W, C), linear in the brightness."""
    opacity: Values | None = None
    """(H, W), 0 to the type's maximum."""
    negative: bool = False
    """Whether 0 is white."""
    orientation: int = 1
    """As EXIF numbers it."""

    def image(self) -> Image.Image:
        """Grey or RGB of 8 bits, composed onto black, not yet turned upright; says its orientation in its EXIF."""
        visible = None if self.opacity is None else self.opacity > 0
        pixels = self.colours if self.colours.dtype == np.uint8 else stretched(self.colours, visible)
        if self.negative:
            pixels = 255 - pixels
        if self.opacity is not None:
            share = self.opacity.astype(np.float32) / _top(self.opacity)
            pixels = np.rint(pixels * share[..., None]).astype(np.uint8)
        image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels))
        image.getexif()[_ORIENTATION] = self.orientation
        return image


def stretched(values: Values, visible: NDArray[np.bool_] | None = None) -> Uint8:
    """Levels of any type and shape, their range (see the top) scaled linearly to 0..255; even images become 0.

    Args:
        visible: shape of ``values`` or (H, W): the pixels that count for the range. None: all.

    Raises:
        NotReadError: a value is not finite.
    """
    levels = np.asarray(values, np.float32 if values.dtype.itemsize <= 2 else np.float64)
    if not np.isfinite(levels).all():
        raise NotReadError("holds values that are not finite")
    counted = levels if visible is None or not visible.any() else levels[visible]
    low, high = _range(counted.ravel())
    if low == high:
        return np.zeros(levels.shape, np.uint8)
    return np.rint((np.clip(levels, low, high) - low) * (255 / (high - low))).astype(np.uint8)


def png_samples(data: bytes, orientation: int) -> Samples:
    """A PNG of 16 bits a sample.

    Raises:
        RuntimeError: it is damaged.
    """
    import torch
    from torchvision.io import ImageReadMode, decode_png

    decoded = decode_png(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.UNCHANGED)
    samples = decoded.permute(1, 2, 0).numpy()
    colours, rest = np.split(samples, [3 if samples.shape[2] >= 3 else 1], axis=2)
    return Samples(colours, rest[..., 0] if rest.shape[2] else None, orientation=orientation)


def start_of_deep_ppm(image: Any) -> int | None:
    """Where the samples of a binary PPM of 16 bits begin, whose header Pillow has read; of other PNMs None."""
    (tile,) = image.tile
    is_deep = tile.codec_name == "ppm" and isinstance(tile.args, tuple) and tile.args[1] > 255
    return int(tile.offset) if is_deep else None


def ppm_samples(data: bytes, start: int, size: tuple[int, int]) -> Samples:
    """A binary PPM of ``size`` (width, height) and 16 bits a sample."""
    count = size[0] * size[1] * 3
    return Samples(np.frombuffer(data, ">u2", count, start).astype(np.uint16).reshape(size[1], size[0], 3))


def tiff_samples(data: bytes, page: int, max_pixels: int) -> Samples | Image.Image:
    """One page of any TIFF whose compression can be undone. CMYK comes as an image of 8 bits.

    Raises:
        NotReadError: it is too large, or of a kind that is not read.
        Exception: it is damaged. tifffile raises many kinds.
    """
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it describes odd metadata at length
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        found = file.pages[page]
        assert isinstance(found, tifffile.TiffPage)
        if found.imagewidth * found.imagelength > max_pixels or found.nbytes > max_pixels * _MOST_BYTES:
            raise NotReadError(
                f"{found.imagewidth} x {found.imagelength} pixels of {found.samplesperpixel} samples are more than "
                f"ingest.max_pixels = {max_pixels}"
            )
        compression = int(found.compression)
        if compression in _BY_LIBTIFF and compression not in tifffile.TIFF.DECOMPRESSORS:
            return tiff_samples(_repacked(data, page), page, max_pixels)
        if compression not in tifffile.TIFF.DECOMPRESSORS:
            raise NotReadError(f"its compression is not read ({_name(found.compression)}); save it with Deflate")
        return _of_page(found)


def needs_tifffile(image: Any) -> bool:
    """Whether a TIFF that Pillow has opened loses levels or its sign there."""
    tags = image.tag_v2
    bits, is_signed = max(tags.get(258, (1,))), tags.get(339, (1,))[0] == 2
    is_deep_colour = bits > 8 and tags.get(277, 1) > 1
    return is_deep_colour or (bits == 32 and tags.get(339, (1,))[0] == 1) or (bits == 8 and is_signed)


def is_negative(image: Any) -> bool:
    """Whether 0 is white in a deep TIFF that Pillow has opened; it turns those of 8 bits itself."""
    return image.format == "TIFF" and image.tag_v2.get(262) == 0


def tiff_pages(data: bytes) -> int:
    """Pages of a TIFF that Pillow does not open. 0 where it is damaged."""
    import tifffile

    with suppress(Exception), tifffile.TiffFile(io.BytesIO(data)) as file:  # as in ``tiff_samples``
        return len(file.pages)
    return 0


# ---- TIFF ----------------------------------------------------------------------------------


def _of_page(page: Any) -> Samples | Image.Image:
    values = page.asarray()
    axes = page.axes
    if axes not in ("YX", "YXS", "SYX"):
        raise NotReadError(f"its axes are not read ({axes})")
    values = values[..., None] if axes == "YX" else np.moveaxis(values, axes.index("S"), 2)
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * 255
    if np.iscomplexobj(values):
        raise NotReadError("complex numbers are not read")
    kind, orientation = int(page.photometric), page.tags.valueof(274, 1)
    if kind == 3:
        table = np.asarray(page.colormap)  # (3, levels), 16 bits
        return Samples(np.moveaxis(table[:, values[..., 0]], 0, 2), orientation=orientation)
    if kind == 5 and values.shape[2] >= 4:
        inks = values[..., :4] if values.dtype == np.uint8 else np.rint(values[..., :4] * (255 / _top(values)))
        image = Image.fromarray(np.ascontiguousarray(inks, np.uint8), "CMYK").convert("RGB")
        image.getexif()[_ORIENTATION] = orientation
        return image
    if kind not in (0, 1, 2):
        raise NotReadError(f"its colours are not read ({_name(page.photometric)}); save it as grey or RGB")
    colours = 3 if kind == 2 and values.shape[2] >= 3 else 1
    extra = [int(sample) for sample in page.extrasamples]
    opaque = next((colours + at for at, sample in enumerate(extra) if sample in (1, 2)), None)
    opacity = None if opaque is None or opaque >= values.shape[2] else values[..., opaque]
    return Samples(values[..., :colours], opacity, kind == 0, orientation)


def _repacked(data: bytes, page: int) -> bytes:
    """The same file with the page's strips or tiles unpacked by Pillow's libtiff, and packed as tifffile reads them.

    Not left unpacked: tifffile does not undo a predictor there.
    """
    import tifffile

    stream = io.BytesIO(data)
    with tifffile.TiffFile(stream) as file:
        found: Any = file.pages[page]
        tiled = found.is_tiled
        width, rows = (found.tilewidth, found.tilelength) if tiled else (found.imagewidth, found.rowsperstrip)
        planes = found.samplesperpixel if int(found.planarconfig) == 2 else 1
        row_bytes = width * (found.samplesperpixel // planes) * found.bitspersample // 8
        of_plane = len(found.dataoffsets) // planes
        offsets, sizes = [], []
        for at, (offset, size) in enumerate(zip(found.dataoffsets, found.databytecounts, strict=True)):
            height = rows if tiled else min(rows, found.imagelength - at % of_plane * rows)
            unpacked = _by_libtiff(data[offset : offset + size], height * row_bytes, int(found.compression))
            offsets.append(stream.seek(0, io.SEEK_END))
            sizes.append(stream.write(zlib.compress(unpacked, level=1)))
        names = ("TileOffsets", "TileByteCounts") if tiled else ("StripOffsets", "StripByteCounts")
        found.tags["Compression"].overwrite(_DEFLATE)
        for name, values in zip(names, (offsets, sizes), strict=True):
            found.tags[name].overwrite(values if len(values) > 1 else values[0])
        return stream.getvalue()


def _by_libtiff(packed: bytes, size: int, compression: int) -> bytes:
    """``packed`` as the one strip of a TIFF of ``size`` x 1 grey pixels, opened by Pillow."""
    entries = (
        *((256, size), (257, 1), (258, 8), (259, compression), (262, 1)),
        *((273, 8 + 2 + 9 * 12 + 4), (277, 1), (278, 1), (279, len(packed))),
    )
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4)
    with Image.open(io.BytesIO(head + packed), formats=("TIFF",)) as image:
        return image.tobytes()


# ---- ranges --------------------------------------------------------------------------------


def _range(levels: NDArray[Any]) -> tuple[Any, Any]:
    """The levels (n,) that become 0 and 255."""
    left = min(max(1, int(len(levels) * _CLIPPED)), (len(levels) - 1) // 2)
    parted = np.partition(levels, (left, len(levels) - 1 - left))
    low, high = parted[left], parted[len(levels) - 1 - left]
    return (low, high) if low < high else (levels.min(), levels.max())


def _top(values: Values) -> float:
    """The value that stands for all: the type's largest, or 1."""
    return float(np.iinfo(values.dtype).max) if np.issubdtype(values.dtype, np.integer) else 1.0


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))
