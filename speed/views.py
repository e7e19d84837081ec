"""Row 3: both views of a batch on one core, Table 3's recipe for colour images, against what else there is.

Every contender starts from the batch as it likes it best, made beforehand (PIL images; uint8 tensors), and ends
with two normalised float batches: crop and resize, flip, jitter in a random order, greyscale, blur, normalise. The
blur is the same everywhere, sigma 0.1 to 2 and cut off at 3 sigma (13 taps); only PIL has its own approximation, the
one that MoCo v2's code uses. Kornia crops in the faster of its two ways.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor, nn
from torchvision import transforms
from torchvision.transforms import v2

from pipeline.data.random_streams import stream_keys
from pipeline.data.views import RGB, make_views
from speed.measure import Row, alternate, lacking, ratio, speed
from speed.pool import BATCH, images

WHAT = "3. Both views of a batch, views/s on one core (28x28x3)"
PIL_GOAL, KORNIA_GOAL = 12, 1.8
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SCALE, _RATIO = (RGB.min_area, 1.0), (1 / RGB.aspect, RGB.aspect)
_JITTER = (RGB.brightness, RGB.contrast, RGB.saturation, RGB.hue)
_TAPS = 13
KORNIA = ("kornia, crops as slices", "kornia, crops resampled")


class PilBlur:
    """Gaussian blur by PIL's own filter."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(radius=self.rng.uniform(*RGB.blur_sigma)))


def pil_transform(size: int) -> Callable[[Image.Image], Tensor]:
    chain: Any = transforms.Compose(
        [
            transforms.RandomResizedCrop(size, _SCALE, _RATIO),
            transforms.RandomHorizontalFlip(RGB.flip),
            transforms.RandomApply([transforms.ColorJitter(*_JITTER)], p=RGB.jitter),
            transforms.RandomGrayscale(RGB.grey),
            transforms.RandomApply([PilBlur()], p=RGB.blur),
            transforms.ToTensor(),
            transforms.Normalize(_MEAN, _STD),
        ]
    )
    return chain


def v2_transform(size: int) -> Callable[[Tensor], Tensor]:
    chain: Any = v2.Compose(
        [
            v2.RandomResizedCrop(size, _SCALE, _RATIO),
            v2.RandomHorizontalFlip(RGB.flip),
            v2.RandomApply([v2.ColorJitter(*_JITTER)], p=RGB.jitter),
            v2.RandomGrayscale(RGB.grey),
            v2.RandomApply([v2.GaussianBlur(_TAPS, RGB.blur_sigma)], p=RGB.blur),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(_MEAN, _STD),
        ]
    )
    return chain


def kornia_transform(size: int, cropping_mode: str) -> Callable[[Tensor], Tensor]:
    import kornia.augmentation as augment

    chain = nn.Sequential(
        augment.RandomResizedCrop((size, size), _SCALE, _RATIO, cropping_mode=cropping_mode),
        augment.RandomHorizontalFlip(p=RGB.flip),
        augment.ColorJitter(*_JITTER, p=RGB.jitter),
        augment.RandomGrayscale(p=RGB.grey),
        augment.RandomGaussianBlur((_TAPS, _TAPS), RGB.blur_sigma, p=RGB.blur),
        augment.Normalize(_MEAN, _STD),
    )
    return lambda batch: chain.to(batch.device)(batch.float() / 255)


def both(transform: Callable[[Tensor], Tensor], batch: Tensor) -> list[Tensor]:
    """Both views by a transform of whole batches."""
    return [transform(batch) for _ in (0, 1)]


def contenders(batch: int) -> dict[str, Callable[[], Any]]:
    """Both views of one batch, by name."""
    pictures = images()[0][:batch]
    size = pictures.shape[1]
    tensors = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()
    pil_images = [Image.fromarray(picture) for picture in pictures]
    pil, torchvision_v2 = pil_transform(size), v2_transform(size)
    ids = torch.arange(batch)

    found: dict[str, Callable[[], Any]] = {
        "ours": lambda: [make_views(tensors, stream_keys(0, 0, ids * 0, ids, view), RGB) for view in (0, 1)],
        "PIL": lambda: [torch.stack([pil(image) for image in pil_images]) for _ in (0, 1)],
        "torchvision v2": lambda: [torch.stack([torchvision_v2(image) for image in tensors]) for _ in (0, 1)],
    }
    if not lacking("kornia"):
        for name, mode in zip(KORNIA, ("slice", "resample"), strict=True):
            found[name] = partial(both, kornia_transform(size, mode), tensors)
    return found


@torch.no_grad()
def measure(batch: int = BATCH, rounds: int = 7) -> Row:
    torch.set_num_threads(1)
    found = contenders(batch)
    seconds = alternate(found, rounds)
    lead = {name: ratio(seconds, name, "ours") for name in found if name != "ours"}
    kornia = min((lead[name] for name in KORNIA if name in lead), default=None)
    met = lead["PIL"] >= PIL_GOAL and (kornia is None or kornia >= KORNIA_GOAL)
    return Row(
        WHAT,
        f"{lead['PIL']:.1f}x PIL, " + (lacking("kornia") or f"{kornia:.2f}x Kornia"),
        f">= {PIL_GOAL}x PIL, >= {KORNIA_GOAL}x Kornia",
        met if kornia is not None or not met else None,
        [
            *((f"{name}, views", speed(times, 2 * batch)) for name, times in seconds.items()),
            *((f"ours over {name}", f"{value:.2f}x") for name, value in lead.items()),
        ],
    )
