"""The products against the convolution that they stand for: result and both gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.moco.fast.small_maps import MOST_TILES, SmallMapConv2d


@pytest.mark.parametrize("side", [(1, 1), (2, 2), (1, 2), (3, 2), (4, 4), (5, 3), (7, 7)])
@pytest.mark.parametrize(("size", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (1, 1, 0), (1, 2, 0), (7, 2, 3)])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_it_is_the_convolution(
    side: tuple[int, int], size: int, stride: int, padding: int, layout: torch.memory_format
) -> None:
    generator = torch.Generator().manual_seed(0)
    plain = nn.Conv2d(5, 6, size, stride, padding, bias=False).double().to(memory_format=layout)
    results = []
    for layer in (plain, SmallMapConv2d.like(plain)):
        maps = torch.randn(4, 5, *side, generator=generator.manual_seed(1), dtype=torch.float64)
        maps = maps.to(memory_format=layout).requires_grad_()
        layer.zero_grad()
        out = layer(maps)
        out.backward(torch.randn(out.shape, generator=generator.manual_seed(2), dtype=torch.float64))
        assert layer.weight.grad is not None and maps.grad is not None
        results.append([out.detach(), maps.grad, layer.weight.grad.clone()])
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("side", "size", "stride", "tiles"),
    [
        (1, 3, 1, 1),
        (2, 3, 1, 8),
        (2, 3, 2, 2),
        (4, 3, 2, 10),
        (4, 3, 1, 40),
        (4, 1, 1, 16),
        (7, 1, 2, 16),
        (5, 1, 1, 25),
    ],
)
def test_small_maps_go_the_other_way(
    side: int, size: int, stride: int, tiles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By hand: down a side of 4 with stride 1 the outputs see 2, 3, 3 and 2 rows of pixels; 10, in 4 columns: 40."""
    called: list[int] = []
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, maps: called.append(1))
    SmallMapConv2d.like(nn.Conv2d(3, 4, size, stride, size // 2, bias=False))(torch.rand(2, 3, side, side))
    assert bool(called) == (tiles > MOST_TILES)


def test_a_single_tile_under_autocast_is_one_product() -> None:
    """What a GPU takes; bfloat16 keeps eight bits, so only that much agrees."""
    plain = nn.Conv2d(8, 6, 3, padding=1, bias=False)
    maps = torch.randn(4, 8, 1, 1, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = SmallMapConv2d.like(plain)(maps)
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.float(), plain(maps), atol=2e-2, rtol=2e-2)


def test_weights_are_shared_and_named_the_same() -> None:
    plain = nn.Conv2d(3, 4, 3, padding=1, bias=False)
    ours = SmallMapConv2d.like(plain)
    assert ours.weight is plain.weight and list(ours.state_dict()) == ["weight"]
