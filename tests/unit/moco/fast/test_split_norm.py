"""Split batch norm against torch's own, split by split."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.moco.fast.split_norm import SplitBatchNorm2d, begin_epoch, end_epoch

ROWS, SPLITS, CHANNELS = 6, 3, 5


def _pair() -> tuple[SplitBatchNorm2d, nn.BatchNorm2d]:
    """Ours, and torch's with a cumulative average; the same weights, statistics of their own."""
    layers = []
    for _ in range(2):
        layer = nn.BatchNorm2d(CHANNELS, momentum=None)  # type: ignore[arg-type]
        nn.init.uniform_(layer.weight, generator=torch.Generator().manual_seed(1))
        layers.append(layer)
    return SplitBatchNorm2d.like(layers[0], ROWS).train(), layers[1].train()


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("at_once", [1, SPLITS])
def test_it_is_one_batch_norm_a_split(layout: torch.memory_format, at_once: int) -> None:
    ours, plain = _pair()
    maps = torch.randn(ROWS * SPLITS, CHANNELS, 4, 3, generator=torch.Generator().manual_seed(0))
    maps = maps.to(memory_format=layout)
    results = []
    begin_epoch([ours])
    for layer, rows in ((ours, at_once * ROWS), (plain, ROWS)):
        given = maps.clone().requires_grad_()
        normalised = torch.cat([layer(part) for part in given.split(rows)])
        (normalised * maps.sin()).sum().backward()
        results.append((normalised, given.grad, layer.weight.grad, layer.bias.grad))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)
    end_epoch([ours])
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(getattr(ours, name), getattr(plain, name))
    torch.testing.assert_close(ours.eval()(maps), plain.eval()(maps))


def test_a_single_split_goes_backward_without_a_copy() -> None:
    """What ``split`` does there: as much as a tenth of a backward pass (docs/dev/log.md)."""
    maps = torch.randn(ROWS, CHANNELS, 2, 2, requires_grad=True)
    with torch.autograd.profiler.profile() as profile:
        _pair()[0](maps).sum().backward()
    names = {event.name for event in profile.function_events}
    assert "aten::native_batch_norm_backward" in names and "aten::cat" not in names


def test_an_epoch_begins_with_new_statistics() -> None:
    ours, _ = _pair()
    maps = torch.randn(ROWS, CHANNELS, 2, 2, generator=torch.Generator().manual_seed(0))
    ours(maps + 9)
    begin_epoch([ours])
    ours(maps)
    end_epoch([ours])
    assert ours.running_mean is not None
    torch.testing.assert_close(ours.running_mean, maps.mean((0, 2, 3)))


def test_half_a_split_is_refused() -> None:
    with pytest.raises(AssertionError, match="9 rows are not whole splits of 6"):
        _pair()[0](torch.zeros(9, CHANNELS, 2, 2))
