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
        one_way = all_at_once if maps.is_cuda and devices.why_not_compiled() is None else one_by_one
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
    normalised, own = _OneByOne.apply(maps, weight, bias, rows, eps)
    return normalised, own[0], own[1]


def all_at_once(maps: Tensor, weight: Tensor, bias: Tensor, rows: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """The same, by kernels of our own for a GPU."""
    from pipeline.moco.split_norm_kernels import SplitNorm  # Triton, which only comes with a torch for GPUs

    normalised, means, variances = SplitNorm.apply(maps, weight, bias, rows, eps)
    pixels = rows * maps.shape[2] * maps.shape[3]
    return normalised, means, variances * (pixels / max(pixels - 1, 1))


class _OneByOne(torch.autograd.Function):
    """Each split where it lies: split and put together by torch, every map would be copied, forward and backward."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, rows: int, eps: float) -> tuple[Tensor, Tensor]:
        parts, normalised = maps.split(rows), torch.empty_like(maps)
        # A momentum of 1: each split's own statistics, in a place of their own.
        own = weight.new_zeros(2, len(parts), len(weight))
        kept = torch.empty_like(own)
        for i, (part, place) in enumerate(zip(parts, normalised.split(rows), strict=True)):
            out = (place, kept[0, i], kept[1, i])
            torch.native_batch_norm(part, weight, bias, own[0, i], own[1, i], True, 1.0, eps, out=out)
        ctx.save_for_backward(maps, weight, kept)
        ctx.rows, ctx.eps = rows, eps
        ctx.mark_non_differentiable(own)
        return normalised, own

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        maps, weight, (means, scales) = ctx.saved_tensors
        of_maps, of_weight, of_bias = torch.empty_like(maps), None, None
        parts = zip(*(each.split(ctx.rows) for each in (maps, gradients[0], of_maps)), means, scales, strict=True)
        for part, gradient, place, mean, scale in parts:
            of_part, *more = torch.ops.aten.native_batch_norm_backward(
                gradient, part, weight, None, None, mean, scale, True, ctx.eps, (True, True, True)
            )
            place.copy_(of_part)
            of_weight, of_bias = more if of_weight is None else (of_weight + more[0], of_bias + more[1])
        return of_maps, of_weight, of_bias, None, None
