"""The GPU's split batch norm against torch's own; without a GPU in Triton's interpreter (see conftest)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pipeline.moco.fast.split_norm import all_at_once, one_by_one

KERNELS = "pipeline.moco.fast.split_norm_kernels"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
pytest.importorskip("triton")
pytestmark = pytest.mark.slow  # Triton's interpreter


def _both_ways(maps: Tensor, rows: int, monkeypatch: pytest.MonkeyPatch, programs: int = 64) -> list[list[Tensor]]:
    """Of each way: maps; sums of means and of variances; gradients."""
    monkeypatch.setattr(f"{KERNELS}._PROGRAMS", programs)
    channels = maps.shape[1]
    results = []
    for way in (one_by_one, all_at_once):
        weight = torch.rand(channels, generator=torch.Generator().manual_seed(1)).to(DEVICE).requires_grad_()
        bias = torch.rand(channels, generator=torch.Generator().manual_seed(2)).to(DEVICE).requires_grad_()
        given = maps.to(DEVICE).clone().requires_grad_()
        sums = torch.ones(channels, device=DEVICE), torch.ones(channels, device=DEVICE), torch.tensor(7, device=DEVICE)
        normalised = way(given, weight, bias, sums, rows, 1e-5)
        # In place, as a ResNet's next layer does it.
        (torch.relu_(normalised) * given.detach().float().sin()).sum().backward()
        assert sums[2] == 7 + len(maps) // rows
        results.append([normalised, sums[0] - 1, sums[1] - 1, given.grad, weight.grad, bias.grad])
    return results


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(
    ("shape", "rows"),
    [((12, 5, 4, 3), 6), ((6, 70, 7, 7), 2), ((64, 130, 1, 1), 16), ((4, 64, 8, 8), 4)],
    ids=["few channels", "several tiles and parts", "one pixel", "one split"],
)
def test_both_ways_are_the_same(
    shape: tuple[int, int, int, int], rows: int, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0)).add(3).to(memory_format=layout)
    for one, other in zip(*_both_ways(maps, rows, monkeypatch), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-5)


def test_statistics_of_many_parts_are_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    """77 parts of 64 pixels, the last of them 36; the merging kernel takes 64 at a time."""
    maps = torch.randn((2, 3, 70, 70), generator=torch.Generator().manual_seed(0)).add(3)
    maps = (maps * torch.linspace(1, 9, 70)).to(memory_format=torch.channels_last)
    for one, other in zip(*_both_ways(maps, 1, monkeypatch, programs=2048), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=2e-3)


def test_bfloat16_maps_are_normalised_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = torch.randn(8, 64, 5, 5, generator=torch.Generator().manual_seed(0)).add(3).bfloat16()
    one, other = _both_ways(maps.to(memory_format=torch.channels_last), 4, monkeypatch)
    assert other[0].dtype == torch.bfloat16 and other[1].dtype == torch.float32
    for expected, found, error in zip(one, other, (0.02, 1e-5, 1e-4, 0.02, 0.05, 0.05), strict=True):
        torch.testing.assert_close(found.float(), expected.float(), rtol=error, atol=error)


def test_a_large_mean_costs_no_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """As sums of squares would."""
    maps = torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(0)).add(1000)
    one, other = _both_ways(maps, 4, monkeypatch)
    exact = maps.double().view(2, 4, 3, -1).transpose(1, 2).flatten(2).var(2).sum(0).float()
    torch.testing.assert_close(other[2].cpu(), exact, rtol=2e-4, atol=0)
    torch.testing.assert_close(other[1], one[1], rtol=1e-6, atol=0)


@pytest.mark.parametrize(("rows", "side", "channels"), [(512, 224, 64), (64, 512, 2048), (256, 1024, 64)])
def test_large_images_stay_within_what_cuda_launches(rows: int, side: int, channels: int) -> None:
    """2^31 - 1 blocks along the first axis, 65,535 along the others; Triton's interpreter knows no limit."""
    from pipeline.moco.fast import split_norm_kernels

    splits, _, channels, parts, _ = split_norm_kernels._division(
        torch.empty(8 * rows, channels, side, side, device="meta"), rows
    )
    across, *others = split_norm_kernels._tiles(splits, rows * side * side, channels)
    assert across < 2**31 and max(*others, parts) <= 65_535
