"""VAAL (Sinha, Ebrahimi & Darrell 2019): which images look unlike those that are labelled.

A variational autoencoder learns a latent space of all images. A discriminator learns to tell from it whether an image
is labelled, and the autoencoder learns to fool it. Chosen are the images that the discriminator is surest to be
unlabelled. No label is read, only which images have one. At a cold start none has. There a random sample stands for
the labelled (``reference_sample``), which is not part of the query and costs nothing.

n = images of a batch, L = latent dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.artifacts import Float64, Int64, Uint8
from pipeline.data.views import normalise

_SIDE = 32
"""Images are brought to Sinha et al.'s CIFAR size."""
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class VaalSettings:
    """Sinha et al.'s, but for ``width`` and ``steps``: theirs are 128 and some 30,000, for hours on a GPU."""

    width: int = 16
    """Channels of the first convolution; doubled by each of the next two."""
    latent: int = 32
    steps: int = 400
    batch_size: int = 64
    """Labelled and as many unlabelled images."""
    learning_rate: float = 5e-4
    beta: float = 1.0
    """Weight of the latent space's divergence from the normal distribution, which is taken per pixel value."""
    adversary: float = 1.0
    """Weight of fooling the discriminator."""


def reference_sample(n: int, size: int, seed: int) -> NDArray[np.bool_]:
    """(n,) a random sample that stands for the labelled images at a cold start."""
    mask = np.zeros(n, bool)
    mask[np.random.default_rng(seed).choice(n, size, replace=False)] = True
    return mask


def labelled_score(
    images: Uint8,
    labelled: NDArray[Any],
    seed: int,
    settings: VaalSettings | None = None,
    device: torch.device | None = None,
) -> Float64:
    """The discriminator's probability that each image is labelled; low = unlike what is labelled, ask for it first.

    Args:
        images: (N, H, W, C) uint8 of the pool, C = 1 or 3.
        labelled: (N,) bool, some of each.
        device: none: the CPU.

    Returns:
        (N,).

    Raises:
        ValueError: nothing is labelled, or all of it.
    """
    inside, outside = np.flatnonzero(labelled), np.flatnonzero(~labelled)
    if not len(inside) or not len(outside):
        raise ValueError(f"{len(inside)} of {len(images)} images are labelled: there is nothing to tell apart")
    settings = settings or VaalSettings()
    model = _Vaal(settings, seed, device or torch.device("cpu"))
    for _ in range(settings.steps):
        model.step(model.batch(images, inside), model.batch(images, outside))
    return model.score(images)


class Autoencoder(nn.Module):
    """(n, 3, 32, 32) -> its reconstruction, and mean and log variance (n, L) of its latent distribution."""

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        sizes = (3, width, 2 * width, 4 * width)
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for inner, outer in zip(sizes[1:], sizes[:-1], strict=True):
            down += [nn.Conv2d(outer, inner, 4, 2, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU()]
            last: list[nn.Module] = [nn.BatchNorm2d(outer), nn.ReLU()] if outer != 3 else []
            up = [nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=outer == 3), *last, *up]
        flat = 4 * width * 16
        self.encode = nn.Sequential(*down, nn.Flatten(), nn.Linear(flat, 2 * latent))
        self.decode = nn.Sequential(nn.Linear(latent, flat), nn.Unflatten(1, (4 * width, 4, 4)), *up)

    def forward(self, pixels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruction, mean, log variance."""
        mean, log_variance = self.encode(pixels).chunk(2, dim=1)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return self.decode(mean + noise * (log_variance / 2).exp()), mean, log_variance


def discriminator(latent: int) -> nn.Module:
    """(n, L) -> logit (n, 1) of being labelled; Sinha et al.'s."""
    return nn.Sequential(nn.Linear(latent, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 1))


class _Vaal:
    """Both networks, their optimizers and their randomness."""

    def __init__(self, settings: VaalSettings, seed: int, device: torch.device) -> None:
        self.settings, self.device = settings, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.autoencoder = Autoencoder(settings.width, settings.latent).to(device)
            self.judge = discriminator(settings.latent).to(device)
        self.draws = np.random.default_rng(seed)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.learn = torch.optim.Adam(self.autoencoder.parameters(), settings.learning_rate)
        self.learn_judge = torch.optim.Adam(self.judge.parameters(), settings.learning_rate)

    def batch(self, images: Uint8, rows: Int64) -> Tensor:
        """Some of the rows, drawn with replacement, as pixels."""
        return self.pixels(images[self.draws.choice(rows, self.settings.batch_size)])

    def pixels(self, images: Uint8) -> Tensor:
        """(n, H, W, C) uint8 -> (n, 3, 32, 32)."""
        tensor = torch.from_numpy(np.ascontiguousarray(images)).to(self.device).permute(0, 3, 1, 2)
        scaled = F.interpolate(tensor.to(torch.float32) / 255, (_SIDE, _SIDE), mode="bilinear", align_corners=False)
        return normalise(scaled)

    def step(self, labelled: Tensor, unlabelled: Tensor) -> None:
        """One step of the autoencoder, then one of the discriminator."""
        loss, means = torch.zeros((), device=self.device), []
        for pixels in (labelled, unlabelled):
            again, mean, log_variance = self.autoencoder(pixels, self.generator)
            divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
            loss = loss + F.mse_loss(again, pixels) + self.settings.beta * divergence / pixels[0].numel()
            # To the autoencoder's mind all images are labelled.
            loss = loss + self.settings.adversary * self._judged(mean, labelled=True)
            means.append(mean.detach())
        self.learn.zero_grad(set_to_none=True)
        loss.backward()
        self.learn.step()
        verdict = self._judged(means[0], labelled=True) + self._judged(means[1], labelled=False)
        self.learn_judge.zero_grad(set_to_none=True)
        verdict.backward()
        self.learn_judge.step()

    def _judged(self, mean: Tensor, labelled: bool) -> Tensor:
        logits = self.judge(mean)[:, 0]
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(labelled)))

    @torch.inference_mode()
    def score(self, images: Uint8) -> Float64:
        """(N,) probability of being labelled."""
        self.autoencoder.eval()
        parts = []
        for start in range(0, len(images), _ROWS_AT_ONCE):
            latent = self.autoencoder.encode(self.pixels(images[start : start + _ROWS_AT_ONCE]))
            mean = latent.chunk(2, dim=1)[0]
            parts.append(self.judge(mean)[:, 0].double().sigmoid())
        return torch.cat(parts).cpu().numpy()
