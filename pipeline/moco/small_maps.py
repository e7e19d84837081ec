"""Convolutions on maps of a few pixels, as matrix products.

At 28 x 28 pixels the later stages of a ResNet work on maps of 4 x 4, 2 x 2 and 1 x 1, where much of a
3 x 3 kernel falls on padding and convolution routines are far from what the machine can do: their
backward pass most of all. A *touch* is a tap of the kernel, a pixel of the input and the pixel of the output
where that tap takes it: one product of (n, C) by (C, O).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

MOST_TOUCHES = 36
"""Above, the convolution is faster (docs/log.md)."""

Pixel = tuple[int, int]
Touch = tuple[Pixel, Pixel, Pixel]
"""(tap, input pixel, output pixel)."""


class SmallMapConv2d(nn.Conv2d):
    """``nn.Conv2d`` with the same weights and, up to rounding, the same result; faster on small maps."""

    @classmethod
    def like(cls, layer: nn.Conv2d) -> SmallMapConv2d:
        """``layer``, sharing its weights; without bias, groups and dilation, as a ResNet's are.

        It may be given a bias later, of a batch norm folded into it.
        """
        assert layer.bias is None and layer.groups == 1 and layer.dilation == (1, 1)
        size, stride, padding = layer.kernel_size[0], layer.stride[0], layer.padding[0]
        assert isinstance(padding, int) and layer.kernel_size == (size, size)
        new = cls(layer.in_channels, layer.out_channels, size, stride, padding, bias=False, device="meta")
        new.weight = layer.weight
        return new

    def forward(self, maps: Tensor) -> Tensor:
        """(n, C, H, W) -> (n, O, H', W')."""
        (size, _), (stride, _), padding = self.kernel_size, self.stride, int(self.padding[0])
        touches = _touches(maps.shape[2], maps.shape[3], size, stride, padding)
        if size == 1 or not touches:
            return super().forward(maps)
        if maps.device.type == "cpu" and not torch.is_autocast_enabled("cpu"):
            products = _TouchByTouch.apply(maps, self.weight, touches)
        elif len(touches) > 1:  # many small products would each wait for a launch
            return super().forward(maps)
        else:
            (row, column), _, _ = touches[0]
            products = (maps.flatten(1) @ self.weight[:, :, row, column].T)[:, :, None, None]
        return products if self.bias is None else products + self.bias[:, None, None]


class _TouchByTouch(torch.autograd.Function):
    """The sum of all touches. With weights in channels_last every factor is a plain matrix where it lies."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, touches: tuple[Touch, ...]) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.touches = touches
        height, width = (1 + max(out[axis] for _, _, out in touches) for axis in (0, 1))
        result = maps.new_zeros(len(maps), height, width, len(weight))
        pixels = maps.permute(0, 2, 3, 1)
        for (row, column), (y, x), (v, u) in touches:
            result[:, v, u].addmm_(pixels[:, y, x], weight[:, :, row, column].T)
        return result.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        maps, weight = ctx.saved_tensors
        gradient, pixels = gradients[0].permute(0, 2, 3, 1), maps.permute(0, 2, 3, 1)
        of_pixels, of_weight = torch.zeros_like(pixels), torch.zeros_like(weight)
        for (row, column), (y, x), (v, u) in ctx.touches:
            of_pixels[:, y, x].addmm_(gradient[:, v, u], weight[:, :, row, column])
            of_weight[:, :, row, column].addmm_(gradient[:, v, u].T, pixels[:, y, x])
        return of_pixels.permute(0, 3, 1, 2), of_weight, None


@cache
def _touches(height: int, width: int, size: int, stride: int, padding: int) -> tuple[Touch, ...]:
    """All of them; none where they are too many."""
    vertical, horizontal = _axis(height, size, stride, padding), _axis(width, size, stride, padding)
    if len(vertical) * len(horizontal) > MOST_TOUCHES:
        return ()
    return tuple(((i, j), (y, x), (v, u)) for i, y, v in vertical for j, x, u in horizontal)


def _axis(side: int, size: int, stride: int, padding: int) -> list[tuple[int, int, int]]:
    """Along one axis: (tap, in, out) wherever a tap falls on the map."""
    outs = range((side + 2 * padding - size) // stride + 1)
    all_of = ((tap, out * stride - padding + tap, out) for out in outs for tap in range(size))
    return [(tap, source, out) for tap, source, out in all_of if 0 <= source < side]
