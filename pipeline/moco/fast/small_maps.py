"""Convolutions on maps of a few pixels, as matrix products.

At 28 x 28 pixels the later stages of a ResNet work on maps of 4 x 4, 2 x 2 and 1 x 1. Much of a 3 x 3 kernel then falls
on padding. Convolution routines are slow there, their backward pass most of all.

A *tile* is one GEMM that stands for a part of a convolution. Of a larger kernel it is one row of taps, as far as that
lies on the map, for one pixel of the output. Its taps and pixels lie side by side in memory, so it is (n, taps x C) by
(taps x C, O). A kernel of a single tap is one tile: (n x pixels, C) by (C, O).

On maps of any size a backward pass on a CPU can leave the gradient by the weight to ``weight_gradients``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST_TILES = 16
"""Above, the convolution is faster; of a single tap above as many pixels of the output (docs/dev/log.md)."""

Place = tuple[int | slice, int | slice]
"""Along height and width."""


class Tile(NamedTuple):
    """Where what is multiplied lies, and where the products are added."""

    taps: Place
    pixels: Place
    out: Place


class SmallMapConv2d(nn.Conv2d):
    """``nn.Conv2d`` with the same weights and, up to rounding, the same result; faster on small maps."""

    defer: Callable[[Tensor, Tensor], None] | None = None
    """Where set, a backward pass on a CPU leaves out the gradient by the weight and gives its inputs here: the
    arguments of ``weight_gradient``. Not under autocast."""

    @classmethod
    def like(cls, layer: nn.Conv2d) -> SmallMapConv2d:
        """``layer``, sharing its weights; without bias, groups and dilation, as a ResNet's are.

        It may be given a bias later, of a batch norm folded into it.
        """
        assert layer.bias is None and layer.groups == 1 and layer.dilation == (1, 1)
        size, stride, padding = layer.kernel_size[0], layer.stride[0], layer.padding[0]
        assert isinstance(padding, int) and layer.kernel_size == (size, size) and 2 * padding == size - 1
        new = cls(layer.in_channels, layer.out_channels, size, stride, padding, bias=False, device="meta")
        new.weight = layer.weight
        return new

    def forward(self, maps: Tensor) -> Tensor:
        """(n, C, H, W) -> (n, O, H', W')."""
        if maps.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and (self.tiles(maps) or self.defer):
            products = _OnCPU.apply(maps, self.weight, self)
        elif maps.shape[2:] != (1, 1) or self.kernel_size == (1, 1):  # many small products would wait for launches
            return super().forward(maps)
        else:
            middle = self.kernel_size[0] // 2  # the only tap that meets the only pixel
            products = (maps.flatten(1) @ self.weight[:, :, middle, middle].T)[:, :, None, None]
        return products if self.bias is None else products + self.bias[:, None, None]

    def tiles(self, maps: Tensor) -> tuple[Tile, ...]:
        """All of them; none where the convolution is to be torch's."""
        return _tiles(maps.shape[2], maps.shape[3], self.kernel_size[0], self.stride[0], int(self.padding[0]))

    def multiplications(self, maps: Tensor) -> int:
        """How many a row of (n, C, H, W) takes."""
        size, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        vertical, horizontal = (_met(_axis(side, size, stride, padding)) for side in maps.shape[2:])
        return vertical * horizontal * self.in_channels * self.out_channels

    def convolved(self, maps: Tensor) -> Tensor:
        """(n, O, H', W'), without the bias."""
        tiles = self.tiles(maps)
        if not tiles:
            return F.conv2d(maps, self.weight, None, self.stride, self.padding)
        height, width = ((side - 1) // self.stride[0] + 1 for side in maps.shape[2:])
        found, pixels = maps.new_zeros(len(maps), height, width, self.out_channels), maps.permute(0, 2, 3, 1)
        for tile in tiles:
            taps = self._taps(tile)
            outs = found[:, *tile.out].view(-1, self.out_channels)
            outs.addmm_(pixels[:, *tile.pixels].reshape(-1, taps.shape[1]), taps.T)
        return found.permute(0, 3, 1, 2)

    def map_gradient(self, maps: Tensor, gradient: Tensor) -> Tensor:
        """(n, C, H, W).

        Args:
            maps: (n, C, H, W). gradient: (n, O, H', W'), by what they became.
        """
        tiles = self.tiles(maps)
        if not tiles:
            return _torchs_gradients(self, maps, gradient, (True, False))[0]
        found, gradient = maps.new_zeros(len(maps), *maps.shape[2:], self.in_channels), gradient.permute(0, 2, 3, 1)
        for tile in tiles:
            taps, pixels = self._taps(tile), found[:, *tile.pixels]
            outs = gradient[:, *tile.out].reshape(-1, self.out_channels)
            if self.kernel_size == (1, 1):  # the only tile, of pixels that may lie apart
                pixels.copy_((outs @ taps).view_as(pixels))
            else:
                pixels.view(-1, taps.shape[1]).addmm_(outs, taps)
        return found.permute(0, 3, 1, 2)

    def weight_gradient(self, maps: Tensor, gradient: Tensor, before: Tensor | None = None) -> Tensor:
        """(O, C, size, size), its axes in memory as the weight's.

        Args:
            maps, gradient: as above.
            before: of other rows, to which these are added.
        """
        tiles = self.tiles(maps)
        if not tiles:
            found = _torchs_gradients(self, maps, gradient, (False, True))[1]
            return self._laid_out(found) if before is None else before.add_(found)
        in_memory = self.weight.permute(0, 2, 3, 1).shape
        found = maps.new_zeros(in_memory) if before is None else before.permute(0, 2, 3, 1)
        pixels, gradient = maps.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
        for tile in tiles:
            taps = found[:, *tile.taps].view(self.out_channels, -1)
            outs = gradient[:, *tile.out].reshape(-1, self.out_channels)
            taps.addmm_(outs.T, pixels[:, *tile.pixels].reshape(-1, taps.shape[1]))
        return self._laid_out(found.permute(0, 3, 1, 2)) if before is None else before

    def _taps(self, tile: Tile) -> Tensor:
        """(O, taps x C); with weights in channels_last a matrix where it lies."""
        return self.weight.permute(0, 2, 3, 1)[:, *tile.taps].reshape(self.out_channels, -1)

    def _laid_out(self, gradient: Tensor) -> Tensor:
        """As the weight is."""
        alike = gradient.stride() == self.weight.stride()
        return gradient if alike else torch.empty_like(self.weight).copy_(gradient)


class _OnCPU(torch.autograd.Function):
    """The layer without its bias; the gradient by the weight may be somebody else's to make."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, layer: SmallMapConv2d) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.layer = layer
        return layer.convolved(maps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (maps, _), (gradient,), layer = ctx.saved_tensors, gradients, ctx.layer
        of_maps = of_weight = None
        if ctx.needs_input_grad[1] and layer.defer is not None:
            layer.defer(maps.detach(), gradient)
        elif ctx.needs_input_grad[1]:
            of_weight = layer.weight_gradient(maps, gradient)
        if ctx.needs_input_grad[0]:
            of_maps = layer.map_gradient(maps, gradient)
        return of_maps, of_weight, None


def _torchs_gradients(
    layer: SmallMapConv2d, maps: Tensor, gradient: Tensor, wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    """By the maps and by the weight, of which one need not be wanted."""
    of_maps, of_weight, _ = torch.ops.aten.convolution_backward(
        gradient, maps, layer.weight, None, layer.stride, layer.padding, (1, 1), False, (0, 0), 1, (*wanted, False)
    )
    return of_maps, of_weight


@cache
def _tiles(height: int, width: int, size: int, stride: int, padding: int) -> tuple[Tile, ...]:
    """All of them; none where they are too many."""
    rows, columns = _axis(height, size, stride, padding), _axis(width, size, stride, padding)
    if _met(rows) * len(columns) > MOST_TILES:
        return ()
    if size == 1:
        every = slice(None, None, stride)
        return (Tile((0, 0), (every, every), (slice(None), slice(None))),)
    return tuple(
        Tile((taps.start + number, along), (pixels.start + number, across), (out, place))
        for taps, pixels, out in rows
        for number in range(taps.stop - taps.start)
        for along, across, place in columns
    )


@cache
def _axis(side: int, size: int, stride: int, padding: int) -> tuple[tuple[slice, slice, int], ...]:
    """Along one axis: the taps that fall on the map, on which pixels, for each of the output."""
    found = []
    for out in range((side + 2 * padding - size) // stride + 1):
        first = out * stride - padding
        taps = slice(max(0, -first), min(size, side - first))
        found.append((taps, slice(first + taps.start, first + taps.stop), out))
    return tuple(found)


def _met(axis: tuple[tuple[slice, slice, int], ...]) -> int:
    """How often a tap meets a pixel."""
    return sum(taps.stop - taps.start for taps, _, _ in axis)
