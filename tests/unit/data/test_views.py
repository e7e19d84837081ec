"""Each augmentation against torchvision's functional version of the same parameters."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from scipy import stats
from torchvision.transforms import InterpolationMode, RandomResizedCrop

from pipeline.data import views
from pipeline.data.random_streams import stream_keys, uniform
from pipeline.data.views import GREY, RGB, Recipe


def _images(n: int, size: int, channels: int = 3, low: float = 0.3, high: float = 0.7) -> torch.Tensor:
    """Smooth random images, with values that no later step pushes out of [0, 1]."""
    generator = torch.Generator().manual_seed(7)
    coarse = torch.rand(n, channels, 7, 7, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    return low + smooth * (high - low)


def _keys(n: int, view: int = 0) -> torch.Tensor:
    ids = torch.arange(n)
    return stream_keys(0, 0, torch.zeros_like(ids), ids, view)


@pytest.mark.parametrize("box", [(0, 0, 28, 28), (3, 5, 11, 17), (20, 1, 8, 9), (27, 27, 1, 1), (0, 14, 28, 14)])
@pytest.mark.parametrize("flip", [False, True])
def test_crop_resize_and_flip_equal_torchvisions(box: tuple[int, int, int, int], flip: bool) -> None:
    image = _images(1, 28)
    top, left, height, width = box
    rows = views.resize_matrix(torch.tensor([top]), torch.tensor([height]), 28, torch.tensor([False]))
    columns = views.resize_matrix(torch.tensor([left]), torch.tensor([width]), 28, torch.tensor([flip]))
    ours = rows[:, None] @ image @ columns[:, None].transpose(-1, -2)
    theirs = TF.resized_crop(image, top, left, height, width, [28, 28], antialias=True)
    torch.testing.assert_close(ours, TF.hflip(theirs) if flip else theirs, atol=2e-6, rtol=0)


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
@pytest.mark.parametrize("size", [8, 28])
def test_blur_equals_torchvisions(sigma: float, size: int) -> None:
    image = _images(1, size)
    matrix = views.blur_matrix(torch.tensor([sigma]), size)[:, None]
    kernel = 2 * min(6, size - 1) + 1
    theirs = TF.gaussian_blur(image, [kernel, kernel], [sigma, sigma])
    torch.testing.assert_close(matrix @ image @ matrix.transpose(-1, -2), theirs, atol=2e-6, rtol=0)


def test_without_blur_nothing_is_mixed() -> None:
    matrices = views.blur_matrix(torch.tensor([0.0, 2.0]), 9)
    assert torch.equal(matrices[0], torch.eye(9)) and not torch.equal(matrices[1], torch.eye(9))


@pytest.mark.parametrize("size", [(12, 12), (12, 20), (20, 12)])
def test_both_axes_are_those_of_resizing_and_blurring_each(size: tuple[int, int]) -> None:
    drawn = views.augmentation_parameters(_keys(30), (3, *size), RGB)
    assert drawn.flip.any() and not drawn.flip.all() and (drawn.sigma > 0).any() and (drawn.sigma == 0).any()
    for ours, side, axis, flip in zip(
        views._axes(drawn, *size, RGB), size, (0, 1), (drawn.flip & False, drawn.flip), strict=True
    ):
        resize = views.resize_matrix(drawn.box[:, axis], drawn.box[:, axis + 2], side, flip)
        torch.testing.assert_close(ours, views.blur_matrix(drawn.sigma, side) @ resize)


def _torchvision_step(image: torch.Tensor, which: int, factor: float) -> torch.Tensor:
    if which == 0:
        return TF.adjust_brightness(image, 1 + factor)
    if which == 1:
        return TF.adjust_contrast(image, 1 + factor)
    if which == 2:
        return TF.adjust_saturation(image, 1 + factor)
    return TF.adjust_hue(image, factor)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_brightness_contrast_and_saturation_equal_torchvisions_in_every_order(order: tuple[int, ...]) -> None:
    image = _images(1, 28)
    factors = torch.tensor([[0.1, -0.3, 0.25, 0.0]])
    by_pixel, by_mean = views.colour_map(factors, torch.tensor([[*order, 3]]), 3)
    ours = (by_pixel @ image.flatten(2) + by_mean @ image.mean((2, 3))[:, :, None]).view_as(image)
    theirs = image
    for which in order:
        theirs = _torchvision_step(theirs, which, float(factors[0, which]))
    torch.testing.assert_close(ours, theirs, atol=3e-4, rtol=0)  # torchvision's grey weights sum to 0.9999


def _hue_degrees(image: torch.Tensor) -> torch.Tensor:
    """Angle in the plane across the grey axis."""
    red, green, blue = image.unbind(1)
    return torch.rad2deg(torch.atan2(3**0.5 * (green - blue), 2 * red - green - blue))


@pytest.mark.parametrize("turns", [-0.1, -0.04, 0.05, 0.1])
def test_hue_turns_colours_as_torchvisions_and_keeps_grey(turns: float) -> None:
    """The one departure that is not exact: the same hue, but the mean is kept where HSV keeps the maximum."""
    image = _images(4, 28)
    order = torch.tensor([[0, 1, 2, 3]] * 4)
    matrix, _ = views.colour_map(torch.tensor([[0.0, 0.0, 0.0, turns]] * 4), order, 3)
    ours = (matrix @ image.flatten(2)).view_as(image)
    theirs = TF.adjust_hue(image, turns)
    apart = (_hue_degrees(ours) - _hue_degrees(theirs) + 180) % 360 - 180
    assert apart.abs().max() < 2.5, "degrees: HSV's hexagon against a circle"
    torch.testing.assert_close(ours.mean(1), image.mean(1), atol=1e-5, rtol=0)
    grey = image.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    torch.testing.assert_close((matrix @ grey.flatten(2)).view_as(grey), grey, atol=1e-5, rtol=0)


def test_greyscale_equals_torchvisions() -> None:
    recipe = Recipe(min_area=1.0, aspect=1.0, flip=0, jitter=0, grey=1, blur=0)
    images = (_images(5, 28) * 255).to(torch.uint8)
    theirs = TF.rgb_to_grayscale(images / 255, num_output_channels=3)
    torch.testing.assert_close(views.make_views(images, _keys(5), recipe), views.normalise(theirs), atol=1e-5, rtol=0)


@pytest.mark.parametrize("degrees", [-45.0, -10.0, 30.0])
def test_rotation_equals_torchvisions(degrees: float) -> None:
    image = _images(1, 28, channels=1)
    whole = torch.tensor([[0.0, 0.0, 28.0, 28.0]])
    ours, inside = views.rotated_crop(image, whole, torch.tensor([False]), torch.tensor([degrees]))
    theirs = TF.rotate(image, degrees, InterpolationMode.BILINEAR)
    # On the rim torchvision mixes the fill into the interpolation; inside the two are the same numbers.
    deep = TF.rotate(torch.ones_like(image), degrees, InterpolationMode.BILINEAR) > 0.999
    assert deep.float().mean() > 0.6
    torch.testing.assert_close((ours * inside)[deep], theirs[deep], atol=1e-5, rtol=0)


def test_nothing_asked_for_changes_nothing() -> None:
    nothing = Recipe(min_area=1.0, aspect=1.0, flip=0, jitter=0, grey=0, blur=0)
    images = (_images(6, 28, low=0, high=1) * 255).to(torch.uint8)
    expected = views.normalise(images / 255)
    torch.testing.assert_close(views.make_views(images, _keys(6), nothing), expected, atol=1e-5, rtol=0)


def test_crop_boxes_are_distributed_as_torchvisions() -> None:
    n = 4000
    draws = uniform(_keys(n), 22)
    ours = views.crop_boxes(draws[:, :20], draws[:, 20:], 28, 28, RGB).numpy()
    torch.manual_seed(0)
    image = torch.zeros(3, 28, 28)
    theirs = np.array([RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(n)])
    for column in range(4):
        assert stats.ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3
    assert (ours[:, 0] + ours[:, 2] <= 28).all() and (ours[:, 1] + ours[:, 3] <= 28).all() and (ours[:, :2] >= 0).all()


@pytest.mark.parametrize(
    ("recipe", "channels", "size"), [(RGB, 3, 28), (RGB, 3, 8), (GREY, 1, 28), (RGB, 1, 16), (GREY, 3, 12)]
)
def test_a_view_is_the_same_alone_and_in_a_batch(recipe: Recipe, channels: int, size: int) -> None:
    images = (_images(12, size, channels, low=0, high=1) * 255).to(torch.uint8)
    together = views.make_views(images, _keys(12), recipe)
    assert together.shape == (12, 3, size, size) and torch.isfinite(together).all()
    alone = torch.cat([views.make_views(images[i : i + 1], _keys(12)[i : i + 1], recipe) for i in range(12)])
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)
    assert not torch.allclose(together, views.make_views(images, _keys(12, view=1), recipe))


def test_the_probabilities_of_table_3_hold() -> None:
    n = 3000
    ramp = torch.arange(28, dtype=torch.float32).expand(n, 3, 28, 28) / 28
    images = (ramp * 255).to(torch.uint8)
    still = Recipe(min_area=1.0, aspect=1.0, jitter=0, grey=0, blur=0)
    flipped = views.make_views(images, _keys(n), still)[:, 0, 0, 0] > 0
    assert abs(flipped.float().mean() - 0.5) < 0.03
    colours = torch.zeros(n, 3, 28, 28, dtype=torch.uint8)
    colours[:, 0], colours[:, 1] = 128, 64
    jittered = views.make_views(colours, _keys(n), Recipe(min_area=1.0, aspect=1.0, flip=0, grey=0, blur=0))
    changed = (jittered - views.normalise(colours / 255)).abs().amax((1, 2, 3)) > 1e-4
    assert abs(changed.float().mean() - 0.8) < 0.03
