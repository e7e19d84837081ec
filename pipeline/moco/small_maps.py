"""Convolutions on maps of a few pixels, as matrix products.

At 28 x 28 pixels the later stages of a ResNet work on maps of 4 x 4, 2 x 2 and 1 x 1, where much of a
3 x 3 kernel falls on padding and convolution routines are far from what the machine can do: their
backward pass most of all. A *touch* is a tap of the kernel, a pixel of the input and the pixel of the output
where that tap takes it: one product of (n, C) by (C, O).

On maps of any size, a backward pass on a CPU can leave the gradient by the weight to somebody else
(``moco.weight_gradients``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST_TOUCHES = 36
"""Above, the convolution is faster (docs/log.md)."""

Pixel = tuple[int, int]
Touch = tuple[Pixel, Pixel, Pixel]
"""(tap, input pixel, output pixel)."""


class SmallMapConv2d(nn.Conv2d):
    """``nn.Conv2d`` with the same weights and, up to rounding, the same result; faster on small maps."""

    defer: Callable[[Tensor, Tensor], None] | None = None
    """Where set, a backward pass on a CPU leaves out the gradient by the weight, and tells here what it takes:
    ``weight_gradient``'s arguments. Not under autocast."""

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
        touches = self.touches(maps)
        if maps.device.type == "cpu" and not torch.is_autocast_enabled("cpu") and (touches or self.defer):
            products = _OnCPU.apply(maps, self.weight, self)
        elif len(touches) != 1:  # many small products would each wait for a launch
            return super().forward(maps)
        else:
            (row, column), _, _ = touches[0]
            products = (maps.flatten(1) @ self.weight[:, :, row, column].T)[:, :, None, None]
        return products if self.bias is None else products + self.bias[:, None, None]

    def touches(self, maps: Tensor) -> tuple[Touch, ...]:
        """All of them; none where the convolution is to be torch's."""
        (size, _), (stride, _), padding = self.kernel_size, self.stride, int(self.padding[0])
        return _touches(maps.shape[2], maps.shape[3], size, stride, padding) if size > 1 else ()

    def multiplications(self, maps: Tensor) -> int:
        """How many a row of (n, C, H, W) takes, but for the border where the convolution is torch's."""
        (height, width), (size, _), (stride, _) = maps.shape[2:], self.kernel_size, self.stride
        taps = len(self.touches(maps)) or size * size * -(-height // stride) * -(-width // stride)
        return taps * self.in_channels * self.out_channels

    def weight_gradient(self, maps: Tensor, gradient: Tensor) -> Tensor:
        """(O, C, size, size), its axes in memory as the weight's.

        Args:
            maps: (n, C, H, W). gradient: (n, O, H', W'), by what they became.
        """
        touches = self.touches(maps)
        if not touches:
            found = _torchs_gradients(self, maps, gradient, (False, True))[1]
            return found if found.stride() == self.weight.stride() else torch.empty_like(self.weight).copy_(found)
        of_weight = torch.zeros_like(self.weight)
        pixels, gradient = maps.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
        for (row, column), (y, x), (v, u) in touches:
            of_weight[:, :, row, column].addmm_(gradient[:, v, u].T, pixels[:, y, x])
        return of_weight

    def map_gradient(self, maps: Tensor, gradient: Tensor) -> Tensor:
        """(n, C, H, W), of the arguments of ``weight_gradient``."""
        touches = self.touches(maps)
        if not touches:
            return _torchs_gradients(self, maps, gradient, (True, False))[0]
        of_pixels, gradient = torch.zeros_like(maps.permute(0, 2, 3, 1)), gradient.permute(0, 2, 3, 1)
        for (row, column), (y, x), (v, u) in touches:
            of_pixels[:, y, x].addmm_(gradient[:, v, u], self.weight[:, :, row, column])
        return of_pixels.permute(0, 3, 1, 2)


class _OnCPU(torch.autograd.Function):
    """The sum of all touches, or torch's convolution; the gradient by the weight may be somebody else's to make.

    With weights in channels_last every factor of a touch is a plain matrix where it lies.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, layer: SmallMapConv2d) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.layer, touches = layer, layer.touches(maps)
        if not touches:
            return F.conv2d(maps, weight, None, layer.stride, layer.padding)
        height, width = (1 + max(out[axis] for _, _, out in touches) for axis in (0, 1))
        result = maps.new_zeros(len(maps), height, width, len(weight))
        pixels = maps.permute(0, 2, 3, 1)
        for (row, column), (y, x), (v, u) in touches:
            result[:, v, u].addmm_(pixels[:, y, x], weight[:, :, row, column].T)
        return result.permute(0, 3, 1, 2)

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
