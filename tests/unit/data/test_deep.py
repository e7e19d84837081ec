"""Deep and odd images, made by tifffile, by libpng's rules or by hand, against levels worked out by hand."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from pipeline.data.decode import SUFFIXES, UnreadableImageError, decode, pages
from pipeline.data.deep import stretched

SIDE = 64
MANY = 10**6
RAMP = np.tile(np.arange(SIDE, dtype=np.uint16) * 65, (SIDE, 1))  # 12 bits: 0, 65, .. 4095 from left to right
ALPHA_MASK = np.full((SIDE, SIDE), 65535, np.uint16)
GREYS = np.rint(np.linspace(0, 255, SIDE))


def png(samples: np.ndarray, **chunks: bytes) -> bytes:
    """A 16-bit PNG of (H, W, 1 to 4) samples."""
    height, width, count = samples.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[count]

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    extra = b"".join(chunk(name.encode(), data) for name, data in chunks.items())
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(values: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


def three(values: np.ndarray = RAMP) -> np.ndarray:
    """The ramp in red, half of it in green, nothing in blue."""
    return np.stack([values, values // 2, values * 0], axis=2)


def lzw_tiff(values: np.ndarray, predictor: bool) -> bytes:
    """Strips packed by Pillow's libtiff, as 8-bit rows, in a TIFF that says they are 16-bit colour."""
    height, width, count = values.shape
    stored = values.astype(np.int64)
    if predictor:
        stored = np.diff(stored, axis=1, prepend=0)
    rows = (stored & 0xFFFF).astype("<u2").view(np.uint8).reshape(height, -1)
    strips = []
    for start in range(0, height, 10):
        packed = io.BytesIO()
        Image.fromarray(rows[start : start + 10]).save(packed, "TIFF", compression="tiff_lzw")
        packed.seek(0)
        with tifffile.TiffFile(packed) as file:
            page = file.pages[0]
            assert len(page.dataoffsets) == 1
            strips.append(packed.getvalue()[page.dataoffsets[0] :][: page.databytecounts[0]])
    entries: list[tuple[int, int, int, int]] = []
    names = [(256, width), (257, height), (258, None), (259, 5), (262, 2), (273, None), (277, count), (278, 10)]
    names += [(279, None), (317, 2 if predictor else 1)]
    at = 8 + 2 + 12 * len(names) + 4
    extra = struct.pack(f"<{count}H", *[16] * count)
    bits, at = at, at + len(extra)
    offsets_at, sizes_at = at, at + 4 * len(strips)
    at += 8 * len(strips)
    starts = [at + sum(map(len, strips[:number])) for number in range(len(strips))]
    extra += struct.pack(f"<{len(strips)}I", *starts) + struct.pack(f"<{len(strips)}I", *map(len, strips))
    places = {258: (3, count, bits), 273: (4, len(strips), offsets_at), 279: (4, len(strips), sizes_at)}
    for tag, value in names:
        kind, many, where = places.get(tag, (4, 1, value))  # type: ignore[assignment]
        entries.append((tag, kind, many, where))
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + directory + extra + b"".join(strips)


DEEP_COLOUR = {
    "PNG": png(three()),
    "PNG with alpha": png(np.dstack([three(), ALPHA_MASK])),
    "TIFF": tiff(three(), photometric="rgb"),
    "TIFF, big-endian": tiff(three(), photometric="rgb", byteorder=">"),
    "BigTIFF": tiff(three(), photometric="rgb", bigtiff=True),
    "TIFF, planes": tiff(np.moveaxis(three(), 2, 0), photometric="rgb", planarconfig="separate"),
    "TIFF, tiles, Deflate, predictor": tiff(
        three(), photometric="rgb", tile=(16, 16), compression="zlib", predictor=True
    ),
    "TIFF with alpha": tiff(np.dstack([three(), ALPHA_MASK]), photometric="rgb", extrasamples=["unassalpha"]),
    "TIFF with an extra plane": tiff(
        np.dstack([three(), RAMP[:, ::-1]]), photometric="rgb", extrasamples=["unspecified"]
    ),
    "TIFF, LZW": lzw_tiff(three(), predictor=False),
    "TIFF, LZW, predictor": lzw_tiff(three(), predictor=True),
    "TIFF, 32 bits": tiff(three().astype(np.uint32) * 100_000, photometric="rgb"),
    "TIFF, float": tiff((three() / 4095).astype(np.float32), photometric="rgb"),
    "TIFF, half": tiff((three() / 4095).astype(np.float16), photometric="rgb"),
    "TIFF, double": tiff(three() / 4095, photometric="rgb"),
    "PPM": b"P6 64 64 65535\n" + three().astype(">u2").tobytes(),
}


@pytest.mark.parametrize("name", DEEP_COLOUR)
def test_deep_colour_keeps_its_levels_and_hues(name: str) -> None:
    pixels = decode(DEEP_COLOUR[name], SIDE, 3, MANY)
    assert len(np.unique(pixels[..., 0])) == SIDE
    assert (pixels == pixels[:1]).all()
    assert np.abs(pixels[0, :, 0] - GREYS).max() <= 1
    assert np.abs(pixels[0, :, 1].astype(int) - pixels[0, :, 0] / 2).max() <= 1
    assert (pixels[..., 2] == 0).all()


DEEP_GREY = {
    "PNG": png(RAMP[..., None]),
    "PNG with alpha": png(np.dstack([RAMP, ALPHA_MASK])),
    "TIFF": tiff(RAMP),
    "miniswhite TIFF": tiff(4095 - RAMP, photometric="miniswhite"),
    "miniswhite TIFF, big-endian": tiff(4095 - RAMP, photometric="miniswhite", byteorder=">"),
    "miniswhite float TIFF": tiff(-RAMP.astype(np.float32), photometric="miniswhite"),
    "miniswhite TIFF with alpha": tiff(
        np.dstack([4095 - RAMP, ALPHA_MASK]), photometric="miniswhite", extrasamples=["unassalpha"]
    ),
    "TIFF with alpha": tiff(np.dstack([RAMP, ALPHA_MASK]), photometric="minisblack", extrasamples=["unassalpha"]),
    "TIFF of 4 planes": tiff(
        np.stack([RAMP, RAMP * 2, RAMP * 3, RAMP * 4]), photometric="minisblack", planarconfig="separate"
    ),
    "TIFF of 5 planes": tiff(np.dstack([RAMP] * 5), photometric="minisblack", planarconfig="contig"),
    "signed TIFF": tiff(RAMP.astype(np.int16) - 1000),
    "signed TIFF of 8 bits": tiff((np.arange(SIDE) * 4 - 128).astype(np.int8)[None].repeat(SIDE, 0)),
    "TIFF of 32 bits": tiff(RAMP.astype(np.uint32) * 1_000_000),
    "signed TIFF of 32 bits": tiff(RAMP.astype(np.int32) - 2000),
    "TIFF of 64 bits": tiff(RAMP.astype(np.uint64) << 20),
    "float TIFF": tiff(RAMP.astype(np.float32) / 4095),
    "half TIFF": tiff(RAMP.astype(np.float16)),
    "double TIFF": tiff(RAMP / 4095),
    "float TIFF, Deflate": tiff(RAMP.astype(np.float32), compression="zlib"),
    "PGM": b"P5 64 64 65535\n" + RAMP.astype(">u2").tobytes(),
}


@pytest.mark.parametrize("name", DEEP_GREY)
def test_deep_greys_keep_their_levels_and_side(name: str) -> None:
    for channels in (1, 3):
        pixels = decode(DEEP_GREY[name], SIDE, channels, MANY)
        assert (pixels == pixels[:1, :, :1]).all()
        assert np.abs(pixels[0, :, 0] - GREYS).max() <= 1


def test_alpha_of_deep_images_is_composed_onto_black() -> None:
    alpha = np.where(np.arange(SIDE) < 32, 0, 32768)[None].repeat(SIDE, 0).astype(np.uint16)
    hidden = np.where(np.arange(SIDE) < 32, 60_000, RAMP).astype(np.uint16)  # does not count for the range
    for data in (
        png(np.dstack([hidden, alpha])),
        png(np.dstack([hidden] * 3 + [alpha])),
        tiff(np.dstack([hidden, alpha]), photometric="minisblack", extrasamples=["unassalpha"]),
    ):
        row = decode(data, SIDE, 1, MANY)[0, :, 0]
        assert (row[:32] == 0).all()
        assert row[32] == 0 and row[63] == 128 and len(np.unique(row)) == 32


def test_a_transparent_level_of_deep_grey() -> None:
    data = png(np.full((9, 9, 1), 500, np.uint16), tRNS=struct.pack(">H", 500))
    assert (decode(data, 9, 1, MANY) == 0).all()


# ---- ranges --------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [[65535], [0], [65535, 0], [65535] * 4])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "colour PNG"])
def test_hot_and_dead_pixels_do_not_blacken(wrong: list[int], kind: str) -> None:
    values = RAMP + 1000
    values[np.arange(len(wrong)) * 7, np.arange(len(wrong)) * 11 + 3] = wrong
    data = {"PNG": png(values[..., None]), "TIFF": tiff(values), "colour PNG": png(np.dstack([values] * 3))}[kind]
    row = decode(data, SIDE, 1, MANY)[SIDE - 1, :, 0]
    assert np.abs(row - GREYS).max() <= 1


def test_a_few_bright_spots_on_even_ground_stay() -> None:
    values = np.full((100, 100), 300, np.uint16)
    values[50, 50:53] = 900
    assert np.unique(stretched(values)).tolist() == [0, 255]
    assert (stretched(np.full((1, 1), 7.0)) == 0).all()


# ---- formats -------------------------------------------------------------------------------


def test_inks_become_colours() -> None:
    """No ink but full yellow, in 8 and 16 bits, with and without a spot colour: red and green reflect fully."""
    for kind, top in ((np.uint8, 255), (np.uint16, 65535)):
        inks = np.zeros((16, 16, 5), kind)
        inks[..., 2] = top
        for count in (4, 5):
            data = tiff(inks[..., :count], photometric="separated")
            assert decode(data, 8, 3, MANY)[0, 0].tolist() == [255, 255, 0], (kind, count)


@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_four_planes_of_8_bits_are_not_stretched(planes: str) -> None:
    values = np.full((16, 16, 4), (10, 200, 30, 77), np.uint8)
    values = values if planes == "contig" else np.ascontiguousarray(np.moveaxis(values, 2, 0))
    rgb = tiff(values, photometric="rgb", planarconfig=planes, extrasamples=["unspecified"])
    assert decode(rgb, 8, 3, MANY)[0, 0].tolist() == [10, 200, 30]
    grey = tiff(values, photometric="minisblack", planarconfig=planes)
    assert decode(grey, 8, 1, MANY)[0, 0].tolist() == [10]


def test_palettes_of_16_bits() -> None:
    table = np.zeros((3, 65536), np.uint16)
    table[:, :4096] = np.arange(4096, dtype=np.uint16) * np.array([[16], [8], [0]], np.uint16)
    pixels = decode(tiff(RAMP, photometric="palette", colormap=table), SIDE, 3, MANY)
    assert np.abs(pixels[0, :, 0] - GREYS).max() <= 1


@pytest.mark.parametrize(
    ("kind", "tolerance"), [("GIF", 0), ("WEBP", 6), ("JPEG2000", 6), ("PPM", 0), ("AVIF", 6), ("DIB", 0)]
)
def test_other_formats(kind: str, tolerance: int) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (32, 32), (10, 200, 30)).save(stream, kind)
    assert np.abs(decode(stream.getvalue(), 8, 3, MANY).astype(int) - (10, 200, 30)).max() <= tolerance
    for suffix in (".jfif", ".jpe", ".webp", ".gif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm"):
        assert suffix in SUFFIXES


def test_orientation_of_deep_images() -> None:
    """To be shown turned clockwise by 90 degrees: what grew to the right grows downwards."""
    data = tiff(three(), photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    column = decode(data, SIDE, 3, MANY)[:, 0, 0]
    assert np.abs(column - GREYS).max() <= 1


def test_pages() -> None:
    stack = np.stack([np.full((9, 9), shade, np.uint8) for shade in (10, 20, 30)])
    for data in (tiff(stack, photometric="minisblack"), gif(stack)):
        assert pages(data) == 3
        assert [int(decode(data, 9, 1, MANY, page)[0, 0, 0]) for page in range(3)] == [10, 20, 30]
    deep = np.stack([three() + 1, three()[:, ::-1]])
    data = tiff(deep, photometric="rgb")
    assert pages(data) == 2
    assert decode(data, SIDE, 3, MANY, 1)[0, 0, 0] == 255
    stream = io.BytesIO()
    Image.new("L", (9, 9)).save(stream, "JPEG")
    assert pages(stream.getvalue()) == 1


def gif(stack: np.ndarray) -> bytes:
    stream = io.BytesIO()
    first, *others = map(Image.fromarray, stack)
    first.save(stream, "GIF", save_all=True, append_images=others)
    return stream.getvalue()


# ---- what is not read ----------------------------------------------------------------------


def test_damaged_deep_images_are_set_aside() -> None:
    """Cut and with bytes changed: never another error, whatever the parsers raise."""
    rng = np.random.default_rng(0)
    for name, data in [*DEEP_COLOUR.items(), *DEEP_GREY.items()]:
        for _ in range(6):
            broken = bytearray(data)
            for at in rng.integers(0, min(len(data), 600), 3):
                broken[at] = rng.integers(256)
            for each in (bytes(broken), data[: int(rng.integers(4, len(data)))]):
                with contextlib.suppress(UnreadableImageError):
                    assert decode(each, 16, 3, MANY).shape == (16, 16, 3), name


def test_a_deep_image_that_is_too_large_is_not_decoded() -> None:
    for data in (DEEP_COLOUR["PNG"], DEEP_COLOUR["TIFF"], DEEP_COLOUR["TIFF, double"], DEEP_GREY["TIFF of 5 planes"]):
        with pytest.raises(UnreadableImageError, match="64 x 64 pixels"):
            decode(data, 8, 3, SIDE * SIDE - 1)
    with pytest.raises(UnreadableImageError, match="of 200 samples are more than"):
        decode(tiff(np.zeros((8, 8, 200), np.uint8), photometric="minisblack", planarconfig="contig"), 8, 3, 64)


def test_other_files_under_an_images_name() -> None:
    for data, kind in ((bytes(128) + b"DICM" + bytes(99), "DICOM"), (b"PK\x03\x04" + bytes(99), "archive")):
        with pytest.raises(UnreadableImageError, match=f"^not a JPEG.* image, but by its content: {kind}"):
            decode(data, 8, 3, MANY)
