"""Small pictures inside the page: PNG data addresses of bounded size, by Pillow."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass

from PIL import Image

from pipeline.artifacts import Uint8

MAX_SIDE = 160
MIN_SIDE = 64
PIXEL_BUDGET = 3_000_000
"""Uncompressed bytes that all thumbnails of a page may take together, while they keep ``MIN_SIDE``."""
FEW, MANY = 6, 100
SHOWN_FEW, SHOWN, SHOWN_MANY = 168, 84, 64
"""Longer side on the page, about, for up to ``FEW`` images, in between, and above ``MANY``."""
PIXELATED_BELOW = 49
"""Images smaller than this are shown by whole multiples of their pixels."""


@dataclass(frozen=True)
class ThumbnailSize:
    """One size for all pictures of a sheet: what is stored and what is shown, in pixels (width, height).

    ``many``: a narrow screen may show them smaller.
    """

    stored: tuple[int, int]
    shown: tuple[int, int]
    pixelated: bool
    many: bool


def thumbnail_size(count: int, height: int, width: int, channels: int) -> ThumbnailSize:
    """The size for ``count`` images of height x width x channels.

    Small images are kept as they are and enlarged by a whole factor on the page. Larger ones are
    reduced so that the sheet stays within ``PIXEL_BUDGET``, to a longer side between ``MIN_SIDE`` and ``MAX_SIDE``.
    """
    longer = max(height, width)
    many = count > FEW
    target = SHOWN_MANY if count > MANY else SHOWN if many else SHOWN_FEW
    if longer < PIXELATED_BELOW:
        factor = max(1, round(target / longer))
        return ThumbnailSize((width, height), (width * factor, height * factor), pixelated=True, many=many)
    affordable = math.isqrt(PIXEL_BUDGET // (max(count, 1) * channels))
    side = min(longer, MAX_SIDE, max(MIN_SIDE, affordable))

    def scaled(to: int) -> tuple[int, int]:
        return max(1, round(width * to / longer)), max(1, round(height * to / longer))

    return ThumbnailSize(scaled(side), scaled(min(target, MAX_SIDE)), pixelated=False, many=many)


def png_uri(image: Uint8, size: ThumbnailSize) -> str:
    """One image, (H, W, 1) grey or (H, W, 3) RGB, as a ``data:image/png`` address.

    Raises:
        ValueError: another number of channels.
    """
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ValueError(f"an image must be (H, W, 1) or (H, W, 3), not of shape {image.shape}")
    picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    if picture.size != size.stored:
        picture = picture.resize(size.stored, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, format="PNG", optimize=True)
    return data_uri("image/png", stream.getvalue())


def data_uri(mime: str, data: bytes) -> str:
    """Bytes as an address that holds them."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"
