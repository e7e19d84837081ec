"""Batch norm over fixed parts of a batch (SplitBatchNorm of MoCo's own CIFAR demo), several parts in one call.

The rest of the network goes over all of a worker's rows at once, which is what makes it fast; the parts are what
the number of workers must not change. Legend: n = rows of a call, C = channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import device as devices
from pipeline import dist


class SplitBatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` that sees ``split_rows`` rows at a time: as many calls, one after the other.

    Its running statistics are the plain mean over an epoch's splits, which can be merged over workers
    exactly; a moving average cannot. Between ``begin_epoch`` and ``end_epoch`` (below) they are sums.
    """

    split_rows: int

    @classmethod
    def like(cls, layer: nn.BatchNorm2d, split_rows: int) -> SplitBatchNorm2d:
        """``layer``, sharing its weights and statistics."""
        new = cls(layer.num_features, layer.eps, device="meta")
        new.weight, new.bias = layer.weight, layer.bias
        new.running_mean, new.running_var = layer.running_mean, layer.running_var
        new.num_batches_tracked = layer.num_batches_tracked
        new.split_rows = split_rows
        return new

    @property
    def statistics(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and variance (C,), each a sum while an epoch runs, and how many splits they are of."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        return self.running_mean, self.running_var, self.num_batches_tracked

    def forward(self, maps: Tensor) -> Tensor:
        """(n, C, H, W) -> the same; in training n is a multiple of ``split_rows``."""
        mean, variance, splits = self.statistics
        if not self.training:
            return F.batch_norm(maps, mean, variance, self.weight, self.bias, eps=self.eps)
        assert len(maps) % self.split_rows == 0, f"{len(maps)} rows are not whole splits of {self.split_rows}"
        one_way = all_at_once if maps.is_cuda else one_by_one
        normalised, means, variances = one_way(maps, self.weight, self.bias, self.split_rows, self.eps)
        mean += means.sum(0)
        variance += variances.sum(0)
        splits += len(means)
        return normalised


def begin_epoch(layers: Sequence[SplitBatchNorm2d]) -> None:
    """Forget the statistics."""
    torch._foreach_zero_([statistic for layer in layers for statistic in layer.statistics])


def end_epoch(layers: Sequence[SplitBatchNorm2d]) -> None:
    """Sums become means over the splits of all workers. All layers have seen as many."""
    sums = [statistic for layer in layers for statistic in layer.statistics[:2]]
    counts = [layer.statistics[2] for layer in layers]
    splits = dist.all_reduce_sum(counts[0].clone())
    means = dist.all_reduce_sum(torch.cat(sums).double()) / splits
    torch._foreach_copy_(sums, list(means.float().split([len(each) for each in sums])))
    torch._foreach_copy_(counts, [splits] * len(counts))


def one_by_one(maps: Tensor, weight: Tensor, bias: Tensor, rows: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised maps (n, C, H, W); mean and unbiased variance of every split, (splits, C). torch's own kernels."""
    parts = maps.split(rows)
    # A momentum of 1: each split's own statistics, in a place of their own.
    own = weight.new_zeros(2, len(parts), len(weight))
    normalised = [
        F.batch_norm(part, own[0, i], own[1, i], weight, bias, training=True, momentum=1.0, eps=eps)
        for i, part in enumerate(parts)
    ]
    return normalised[0] if len(parts) == 1 else torch.cat(normalised), own[0], own[1]


def all_at_once(maps: Tensor, weight: Tensor, bias: Tensor, rows: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """The same. For a GPU, which a kernel a split keeps half idle."""
    normalised, means, variances = _AllAtOnce.apply(maps, weight, bias, rows, eps)
    pixels = rows * maps.shape[2] * maps.shape[3]
    return normalised, means, variances * (pixels / max(pixels - 1, 1))


class _AllAtOnce(torch.autograd.Function):
    """Batch norm's textbook formulas on (splits, pixels of a split, C): how maps in channels_last lie already."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, rows: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        n, channels, height, width = maps.shape
        pixels = maps.permute(0, 2, 3, 1).reshape(n // rows, -1, channels)
        normalised, means, variances = _normalise(pixels, weight, bias, eps)
        ctx.save_for_backward(pixels, weight, means, variances)
        ctx.eps = eps
        ctx.mark_non_differentiable(means, variances)
        return normalised.view(n, height, width, channels).permute(0, 3, 1, 2), means, variances

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        pixels, weight, means, variances = ctx.saved_tensors
        n, channels, height, width = gradients[0].shape
        gradient = gradients[0].permute(0, 2, 3, 1).reshape(pixels.shape)
        of_pixels, of_weight, of_bias = _differentiate(gradient, pixels, weight, means, variances, ctx.eps)
        return of_pixels.view(n, height, width, channels).permute(0, 3, 1, 2), of_weight, of_bias, None, None


@devices.fused
def _normalise(pixels: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """(s, p, C) -> the same, with mean and (biased) variance, (s, C)."""
    values = pixels.float()
    variances, means = torch.var_mean(values, 1, correction=0, keepdim=True)
    normalised = (values - means) * (variances + eps).rsqrt() * weight + bias
    return normalised.to(pixels.dtype), means[:, 0], variances[:, 0]


@devices.fused
def _differentiate(
    gradient: Tensor, pixels: Tensor, weight: Tensor, means: Tensor, variances: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of what ``_normalise`` was given: (s, p, C), (C,), (C,)."""
    given, inverse = gradient.float(), (variances[:, None] + eps).rsqrt()
    normal = (pixels.float() - means[:, None]) * inverse
    total, product = given.sum(1, keepdim=True), (given * normal).sum(1, keepdim=True)
    count = pixels.shape[1]
    of_pixels = (given - total / count - normal * (product / count)) * (inverse * weight)
    return of_pixels.to(pixels.dtype), product.sum((0, 1)), total.sum((0, 1))
