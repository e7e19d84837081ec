"""Files made by Pillow in every mode, and damaged ones, against pixel values worked out by hand."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.data.decode import UnreadableImageError, decode, fit_array, is_grey

MANY = 10**6
RED, GREEN = (255, 0, 0), (0, 255, 0)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def flat(mode: str, colour: Any, side: int = 16) -> Image.Image:
    return Image.new(mode, (side, side), colour)


def only(pixels: np.ndarray) -> list[int]:
    """The one pixel value that all pixels have."""
    values = np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)
    assert len(values) == 1
    return values[0].tolist()


def palette_image(transparency: int | None = None) -> bytes:
    image = flat("P", 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    return encoded(image) if transparency is None else encoded(image, transparency=transparency)


@pytest.mark.parametrize(
    ("data", "rgb"),
    [
        pytest.param(encoded(flat("RGB", (10, 200, 30))), [10, 200, 30], id="RGB"),
        pytest.param(encoded(flat("L", 77)), [77, 77, 77], id="grey"),
        pytest.param(encoded(flat("1", 1)), [255, 255, 255], id="bilevel"),
        pytest.param(palette_image(), [10, 200, 30], id="palette"),
        pytest.param(palette_image(transparency=1), [0, 0, 0], id="transparent palette entry"),
        # 128/255 of the colour on black: 200 x 128 / 255 = 100.4
        pytest.param(encoded(flat("RGBA", (200, 100, 0, 128))), [100, 50, 0], id="alpha"),
        pytest.param(encoded(flat("LA", (200, 128))), [100, 100, 100], id="grey with alpha"),
        # No ink but full yellow: red and green reflect fully.
        pytest.param(encoded(flat("CMYK", (0, 0, 255, 0)), "TIFF"), [255, 255, 0], id="CMYK TIFF"),
        pytest.param(encoded(flat("RGB", (10, 200, 30)), "BMP"), [10, 200, 30], id="BMP"),
        pytest.param(encoded(flat("RGB", (10, 200, 30)), "TIFF", compression="tiff_lzw"), [10, 200, 30], id="LZW TIFF"),
    ],
)
def test_modes_become_rgb(data: bytes, rgb: list[int]) -> None:
    pixels = decode(data, 8, 3, MANY)
    assert pixels.shape == (8, 8, 3)
    assert pixels.dtype == np.uint8
    assert only(pixels) == rgb


@pytest.mark.parametrize(
    ("data", "rgb"),
    [
        pytest.param(encoded(flat("CMYK", (0, 0, 255, 0)), "JPEG", quality=100), [255, 255, 0], id="CMYK JPEG"),
        pytest.param(encoded(flat("LAB", (255, 128, 128)), "TIFF"), [255, 255, 255], id="LAB TIFF"),
    ],
)
def test_modes_that_round(data: bytes, rgb: list[int]) -> None:
    assert np.abs(decode(data, 8, 3, MANY).astype(int) - rgb).max() <= 2


def test_one_channel_is_the_luminance() -> None:
    # ITU-R 601: .299 R + .587 G + .114 B
    assert only(decode(encoded(flat("RGB", (10, 200, 30))), 8, 1, MANY)) == [124]
    assert only(decode(encoded(flat("L", 77)), 8, 1, MANY)) == [77]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.array([[0, 1024], [2048, 4095]], np.uint16), "PNG"),
        (np.array([[0, 1024], [2048, 4095]], np.uint16), "TIFF"),
        (np.array([[-1000, 24], [1048, 3095]], np.int32), "TIFF"),
        (np.array([[0, 0.25], [0.5, 1]], np.float32) * 4095 - 7, "TIFF"),
    ],
)
def test_deep_greys_are_stretched_not_clipped(values: np.ndarray, kind: str) -> None:
    data = encoded(Image.fromarray(np.kron(values, np.ones((8, 8), values.dtype))), kind)
    pixels = decode(data, 16, 1, MANY)
    # By hand: 1024 / 4095 x 255 = 63.77, 2048 / 4095 x 255 = 127.53
    assert [int(pixels[y, x, 0]) for y in (0, 15) for x in (0, 15)] == [0, 64, 128, 255]


def test_constant_and_infinite_deep_images() -> None:
    assert only(decode(encoded(Image.fromarray(np.full((9, 9), 3000, np.uint16))), 8, 1, MANY)) == [0]
    values = np.zeros((9, 9), np.float32)
    values[0, 0] = np.inf
    with pytest.raises(UnreadableImageError, match="not finite"):
        decode(encoded(Image.fromarray(values), "TIFF"), 8, 1, MANY)


@pytest.mark.parametrize(("kind", "tolerance"), [("JPEG", 60), ("PNG", 0), ("TIFF", 0)])
def test_exif_orientation_is_applied(kind: str, tolerance: int) -> None:
    image = flat("RGB", GREEN, 64)
    image.paste(RED, (0, 0, 64, 32))  # red above
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by 90 degrees: red goes to the right
    pixels = decode(encoded(image, kind, exif=exif), 16, 3, MANY).astype(int)
    assert np.abs(pixels[:, 12:] - RED).max() <= tolerance
    assert np.abs(pixels[:, :4] - GREEN).max() <= tolerance


def test_the_centre_square_is_kept_undistorted() -> None:
    image = flat("RGB", GREEN, 60).resize((180, 60))
    image.paste(RED, (60, 0, 120, 60))
    assert only(decode(encoded(image), 60, 3, MANY)) == list(RED)
    # A circle stays one: as wide as it is high.
    yy, xx = np.mgrid[:60, :180]
    disc = Image.fromarray((((yy - 30) ** 2 + (xx - 90) ** 2 < 400) * 255).astype(np.uint8))
    inside = decode(encoded(disc), 30, 1, MANY)[..., 0] > 127
    assert inside.any(axis=0).sum() == inside.any(axis=1).sum() == 20


def test_a_jpeg_decoded_small_is_near_to_one_decoded_whole() -> None:
    yy, xx = np.mgrid[:400, :400]
    wave = (127 + 60 * np.sin(xx / 23) + 60 * np.cos(yy / 31)).astype(np.uint8)
    data = encoded(Image.fromarray(wave), "JPEG", quality=95)
    whole = np.asarray(Image.open(io.BytesIO(data)).resize((40, 40), Image.Resampling.BICUBIC))
    assert np.abs(decode(data, 40, 1, MANY)[..., 0].astype(int) - whole).max() <= 3


def test_resizing_equals_pillows() -> None:
    array = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
    expected = np.asarray(Image.fromarray(array).resize((64, 64), Image.Resampling.BICUBIC))
    assert (fit_array(array, 64, 3) == expected).all()
    assert (fit_array(array[..., :1], None, 1) == array[..., :1]).all()
    assert fit_array(array[..., 0], 32, 3).shape == (32, 32, 3)


def test_only_the_first_frame_counts() -> None:
    data = encoded(flat("RGB", RED), "TIFF", save_all=True, append_images=[flat("RGB", GREEN)])
    assert only(decode(data, 8, 3, MANY)) == list(RED)


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"patient,finding\n1,none\n", "not a JPEG, PNG, BMP or TIFF"),
        (encoded(NOISE, "TGA"), "not a JPEG, PNG, BMP or TIFF"),
        (encoded(NOISE, "JPEG")[:1500], "damaged: .*truncated"),
        (encoded(NOISE, "PNG")[:5000], "damaged"),
        (encoded(NOISE, "TIFF")[:5000], "damaged"),
        (encoded(NOISE, "TIFF", compression="tiff_lzw")[:5000], "header is damaged"),  # libtiff writes it last
    ],
)
def test_what_cannot_be_read_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImageError, match=reason):
        decode(data, 16, 3, MANY)


def test_a_bomb_is_refused_from_its_header(bomb_png: bytes) -> None:
    with pytest.raises(UnreadableImageError, match=r"20000 x 20000 pixels are more than ingest.max_pixels = 100000000"):
        decode(bomb_png, 64, 3, 100_000_000)


def test_max_pixels_is_the_only_limit() -> None:
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, 100  # Pillow would refuse 16 x 16
    try:
        assert decode(encoded(flat("L", 1)), 8, 1, 256).shape == (8, 8, 1)
        assert Image.MAX_IMAGE_PIXELS == 100
    finally:
        Image.MAX_IMAGE_PIXELS = before
    with pytest.raises(UnreadableImageError, match="16 x 16"):
        decode(encoded(flat("L", 1)), 8, 1, 255)


def test_grey_is_what_has_equal_channels() -> None:
    assert is_grey(encoded(flat("L", 9)), MANY)
    assert is_grey(encoded(NOISE.convert("L").convert("RGB")), MANY)
    assert is_grey(encoded(NOISE.convert("L").convert("RGB"), "JPEG"), MANY)
    assert not is_grey(encoded(NOISE), MANY)
    nearly = NOISE.convert("L").convert("RGB")
    nearly.paste(RED, (0, 0, 8, 8))
    assert not is_grey(encoded(nearly), MANY)


@pytest.mark.parametrize("channels", [1, 3])
def test_lab_becomes_grey_and_rgb(channels: int) -> None:
    data = io.BytesIO()
    Image.new("LAB", (20, 20), (255, 128, 128)).save(data, "TIFF")
    assert (decode(data.getvalue(), 16, channels, 10**6) >= 250).all(), "full lightness and no colour is white"


def test_what_pillow_cannot_convert_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: Any) -> None:
        raise ValueError("conversion not supported")

    data = io.BytesIO()
    Image.new("L", (20, 20)).save(data, "PNG")
    monkeypatch.setattr(Image.Image, "convert", unsupported)
    with pytest.raises(UnreadableImageError, match="cannot be converted: conversion not supported"):
        decode(data.getvalue(), 16, 3, 10**6)
