"""The query on paper: pictures with rank and name, in the order to label them, as a PDF."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from pipeline.artifacts import Uint8

PAGE = (1240, 1754)
"""Pixels of an A4 page at 150 a inch."""
COLUMNS, ROWS = 5, 6
_MARGIN, _CAPTION = 60, 44
_LONGEST = 24
"""Letters of a name, of which the end is kept: the beginning is often the same."""


def contact_sheet_pdf(title: str, images: Uint8, ranks: Sequence[int], keys: Sequence[str]) -> bytes:
    """Pages of 30 pictures. Shapes: images (n, H, W, C) with C = 1 or 3."""
    per_page = COLUMNS * ROWS
    pages = [
        _page(title, images[at : at + per_page], ranks[at : at + per_page], keys[at : at + per_page])
        for at in range(0, len(images), per_page)
    ]
    file = io.BytesIO()
    pages[0].save(file, "PDF", save_all=True, append_images=pages[1:], resolution=150)
    return file.getvalue()


def _page(title: str, images: Uint8, ranks: Sequence[int], keys: Sequence[str]) -> Image.Image:
    page = Image.new("RGB", PAGE, "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(18)
    draw.text((_MARGIN, 20), title, "black", ImageFont.load_default(24))
    width, height = (PAGE[0] - 2 * _MARGIN) // COLUMNS, (PAGE[1] - 2 * _MARGIN) // ROWS
    for place, (image, rank, key) in enumerate(zip(images, ranks, keys, strict=True)):
        x, y = _MARGIN + place % COLUMNS * width, _MARGIN + place // COLUMNS * height
        picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).convert("RGB")
        scale = min((width - 16) / picture.width, (height - _CAPTION - 8) / picture.height)
        size = (max(1, int(picture.width * scale)), max(1, int(picture.height * scale)))
        page.paste(picture.resize(size, Image.Resampling.NEAREST if scale > 3 else Image.Resampling.LANCZOS), (x, y))
        name = key if len(key) <= _LONGEST else f"...{key[-_LONGEST:]}"
        draw.text((x, y + height - _CAPTION), f"{rank}", "black", font)
        draw.text((x, y + height - _CAPTION + 20), name.encode("ascii", "replace").decode(), "black", font)
    return page
