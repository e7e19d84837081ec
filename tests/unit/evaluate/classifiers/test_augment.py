"""Table 5's augmentations: each one alone against its definition, and how often it comes."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch import Tensor

from pipeline.data.random_streams import stream_keys
from pipeline.evaluate.classifiers.augment import Augmentation, augment

N = 4000


def images(n: int, height: int = 6, width: int = 6, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (n, channels, height, width), generator=generator, dtype=torch.uint8)


def keys(n: int, seed: int = 0) -> Tensor:
    ids = torch.arange(n)
    return stream_keys(seed, 0, torch.zeros_like(ids), ids, view=0)


def only(**settings: float | str) -> Augmentation:
    return Augmentation(**{"flip": 0, "rotate": 0, "invert": 0, "fade": 0, **settings})  # type: ignore[arg-type]


def share(found: Tensor, expected: Tensor) -> float:
    """Of images that equal what is expected of them."""
    return float((found - expected).abs().amax((1, 2, 3)).lt(1e-6).float().mean())


def test_nothing_asked_for_changes_nothing() -> None:
    assert torch.equal(augment(images(9), keys(9), only()), images(9) / 255)


def test_flips_about_either_axis_half_of_the_time() -> None:
    plain = images(1).expand(N, -1, -1, -1)
    found = augment(plain, keys(N), only(flip=0.5))
    shares = [share(found, each / 255) for each in (plain, plain.flip(3), plain.flip(2))]
    assert shares == pytest.approx([0.5, 0.25, 0.25], abs=0.03) and sum(shares) == pytest.approx(1)


def test_quarter_turns_half_of_the_time() -> None:
    plain = images(1).expand(N, -1, -1, -1)
    found = augment(plain, keys(N), only(rotate=0.5))
    shares = [share(found, torch.rot90(plain, turn, (2, 3)) / 255) for turn in range(4)]
    assert shares == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6], abs=0.03) and sum(shares) == pytest.approx(1)


def test_an_oblong_image_is_turned_by_half() -> None:
    plain = images(1, 4, 7).expand(N, -1, -1, -1)
    found = augment(plain, keys(N), only(rotate=0.5))
    shares = [share(found, plain / 255), share(found, torch.rot90(plain, 2, (2, 3)) / 255)]
    assert shares == pytest.approx([0.5, 0.5], abs=0.03) and sum(shares) == pytest.approx(1)


def test_colours_inverted() -> None:
    plain = images(N)
    found = augment(plain, keys(N), only(invert=0.1))
    inverted = share(found, 1 - plain / 255)
    assert inverted == pytest.approx(0.1, abs=0.02) and share(found, plain / 255) == pytest.approx(1 - inverted)


def test_fading_is_four_fifths_noise() -> None:
    plain = images(N)
    found = augment(plain, keys(N), only(fade=0.1))
    faded = (found - plain / 255).abs().amax((1, 2, 3)) > 1e-6
    assert float(faded.float().mean()) == pytest.approx(0.1, abs=0.02)
    noise = ((found - 0.2 * plain / 255) / 0.8)[faded]
    assert float(noise.min()) > -1e-6 and float(noise.max()) < 1 + 1e-6
    assert stats.kstest(noise.flatten()[::7].numpy(), "uniform").pvalue > 1e-3
    assert len({tuple(row) for row in noise.flatten(1)[:, :3].round(decimals=4).tolist()}) == len(noise)


def test_darkening_is_one_factor_an_image() -> None:
    plain = images(N).clamp_min(1)
    factor = augment(plain, keys(N), only(fade=1.0, fade_kind="darken")) / (plain / 255)
    torch.testing.assert_close(factor.amax((1, 2, 3)), factor.amin((1, 2, 3)), atol=1e-5, rtol=0)
    assert stats.kstest(((factor[:, 0, 0, 0] - 0.2) / 0.8).numpy(), "uniform").pvalue > 1e-3


def test_alone_as_in_a_batch() -> None:
    together = augment(images(40, channels=1), keys(40), Augmentation())
    alone = [augment(images(40, channels=1)[i : i + 1], keys(40)[i : i + 1], Augmentation()) for i in range(40)]
    assert torch.equal(torch.cat(alone), together)
    assert not torch.equal(together, augment(images(40, channels=1), keys(40, seed=1), Augmentation()))
