"""An image folder's JPEGs to small squares on one core: ``pipeline.data.decode`` beside Pillow and torchvision.

All get the same bytes, in memory already, and make the same thing: the centre square as (64, 64, 3) uint8,
bicubic with antialiasing. ``Pillow`` is the plain loop that people write; ``Pillow, draft`` knows libjpeg's
scaled decoding and is asked for the same scale as we are; torchvision has no scaled decoding, but
a faster decoder call and a vectorised resize. Ours is Pillow with draft and, beside it, refuses bombs, turns
EXIF orientation and names what is broken: against that peer the most there can be is 1.
"""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from pipeline.data.decode import decode
from speed.measure import Row, alternate, ratio, speed
from speed.pool import BLOOD

FOLDER = BLOOD.with_name("blood_jpeg")
SIDE = 64
OTHER_SIDES = (28, 224)
WHAT = f"JPEG decoded and resized to {SIDE} px, one core"
GOAL = "faster than either whole decoder; >= 0.95x Pillow with draft"


def measure(folder: Path = FOLDER, images: int = 1200, rounds: int = 5) -> Row:
    found = sorted(folder.glob("*/*.jpg"))
    if not found:
        return Row(WHAT, f"no JPEGs in {folder}", GOAL, None)
    torch.set_num_threads(1)
    chosen = [found[at] for at in np.linspace(0, len(found) - 1, min(images, len(found))).astype(int)]
    files = [path.read_bytes() for path in chosen]
    # Outside the clock: torchvision takes a tensor of its own, which a file reader of its own would fill.
    tensors = [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in files]
    seconds = alternate(
        {
            "ours": lambda: [ours(data) for data in files],
            "Pillow": lambda: [pillow(data) for data in files],
            "Pillow, draft": lambda: [pillow(data, draft=True) for data in files],
            "torchvision": lambda: [torchvision(data) for data in tensors],
        },
        rounds,
    )
    against = {name: ratio(seconds, name, "ours") for name in seconds if name != "ours"}
    others = alternate({str(side): partial(all_of, files, side) for side in OTHER_SIDES}, rounds=2)
    whole = [np.abs(ours(data).astype(int) - pillow(data)).mean() for data in files[:100]]
    return Row(
        WHAT,
        ", ".join(f"{value:.2f}x {name}" for name, value in against.items()),
        GOAL,
        min(against["Pillow"], against["torchvision"]) > 1 and against["Pillow, draft"] >= 0.95,
        [
            *((name, speed(each, len(files))) for name, each in seconds.items()),
            *((f"ours, to {side} px", speed(each, len(files))) for side, each in others.items()),
            ("images", f"{len(files)} of {_bytes(files):.1f} KB, {Image.open(chosen[0]).size[0]} px wide"),
            ("ours from Pillow's whole decoding", f"{np.mean(whole):.2f} of 255 grey levels apart in the mean"),
        ],
    )


def ours(data: bytes, side: int = SIDE) -> Any:
    return decode(data, side, 3, max_pixels=10**8)


def all_of(files: list[bytes], side: int) -> None:
    for data in files:
        ours(data, side)


def pillow(data: bytes, *, draft: bool = False) -> Any:
    image: Image.Image = Image.open(io.BytesIO(data))
    if draft:
        image.draft("RGB", (2 * SIDE, 2 * SIDE))
    image = image.convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def torchvision(data: torch.Tensor) -> Any:
    image = decode_jpeg(data, mode=ImageReadMode.RGB)
    square = tv.center_crop(image, [min(image.shape[1:])] * 2)
    small = tv.resize(square, [SIDE, SIDE], interpolation=InterpolationMode.BICUBIC, antialias=True)
    return small.permute(1, 2, 0).numpy()


def _bytes(files: list[bytes]) -> float:
    return float(np.mean([len(data) for data in files])) / 1000
