from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from pipeline.report.thumbnails import PIXEL_BUDGET, png_uri, thumbnail_size


def pixels(uri: str) -> np.ndarray:
    kind, _, data = uri.partition(";base64,")
    assert kind == "data:image/png"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.mark.parametrize("channels", [1, 3])
def test_small_images_are_kept_pixel_by_pixel(channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (28, 20, channels), np.uint8)
    size = thumbnail_size(23, 28, 20, channels)
    assert size.pixelated and size.stored == (20, 28) and size.shown == (60, 84)
    np.testing.assert_array_equal(pixels(png_uri(image, size)), image.squeeze(-1) if channels == 1 else image)


@pytest.mark.parametrize(("count", "shown"), [(1, 168), (6, 168), (7, 84), (100, 84), (101, 56), (600, 56)])
def test_fewer_images_are_shown_larger(count: int, shown: int) -> None:
    assert thumbnail_size(count, 28, 28, 3).shown == (shown, shown)


def test_large_images_are_reduced_and_keep_their_shape() -> None:
    image = np.full((448, 224, 3), 200, np.uint8)
    size = thumbnail_size(10, 448, 224, 3)
    assert not size.pixelated and size.stored == (80, 160) and size.shown == (42, 84)
    assert pixels(png_uri(image, size)).shape == (160, 80, 3)


@pytest.mark.parametrize("count", [1, 23, 200])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_sheet_is_bounded(count: int, channels: int) -> None:
    width, height = thumbnail_size(count, 512, 512, channels).stored
    assert 64 <= width <= 160
    assert count * width * height * channels <= PIXEL_BUDGET


def test_even_a_huge_sheet_can_be_looked_at() -> None:
    assert thumbnail_size(5000, 512, 512, 3).stored == (64, 64)


def test_other_numbers_of_channels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(H, W, 1\) or \(H, W, 3\), not of shape \(8, 8, 4\)"):
        png_uri(np.zeros((8, 8, 4), np.uint8), thumbnail_size(1, 8, 8, 4))
