"""Batch norm over fixed parts of a batch (SplitBatchNorm of MoCo's own CIFAR demo), several parts in one call.

The rest of the network goes over all rows of a call at once, however many splits they are. The splits are what the
number of workers must not change. Legend: n = rows of a call, C = channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import device as devices
from pipeline import dist

Statistics = tuple[Tensor, Tensor, Tensor]
"""Mean and variance, (C,) each, and how many splits they are of."""


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
    def statistics(self) -> Statistics:
        """Its own, each a sum while an epoch runs."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        return self.running_mean, self.running_var, self.num_batches_tracked

    def forward(self, maps: Tensor) -> Tensor:
        """(n, C, H, W) -> the same; in training n is a multiple of ``split_rows``."""
        if not self.training:
            return F.batch_norm(maps, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        assert len(maps) % self.split_rows == 0, f"{len(maps)} rows are not whole splits of {self.split_rows}"
        one_way = all_at_once if maps.is_cuda and devices.why_not_compiled() is None else one_by_one
        return one_way(maps, self.weight, self.bias, self.statistics, self.split_rows, self.eps)


def begin_epoch(layers: Sequence[SplitBatchNorm2d]) -> None:
    """Forget the statistics."""
    torch._foreach_zero_([statistic for layer in layers for statistic in layer.statistics])


def end_epoch(layers: Sequence[SplitBatchNorm2d], *others: Sequence[SplitBatchNorm2d]) -> None:
    """Sums become means over the splits of all workers. All layers have seen as many.

    Args:
        others: the same layers of models that have seen other splits beside this one; left as they are.
    """
    sums = [statistic for layer in layers for statistic in layer.statistics[:2]]
    counts = [layer.statistics[2] for layer in layers]
    every = (layers, *others)
    flat = torch.stack([torch.cat([each for layer in one for each in layer.statistics[:2]]) for one in every])
    splits = dist.all_reduce_sum(torch.stack([one[0].statistics[2] for one in every]).sum())
    means = dist.all_reduce_sum(flat.double().sum(0)) / splits
    torch._foreach_copy_(sums, list(means.float().split([len(each) for each in sums])))
    torch._foreach_copy_(counts, [splits] * len(counts))


def one_by_one(maps: Tensor, weight: Tensor, bias: Tensor, sums: Statistics, rows: int, eps: float) -> Tensor:
    """Normalised maps (n, C, H, W), by torch's own kernels.

    Args:
        sums: to which the mean and unbiased variance of every split, and the number of splits, are added.
    """
    # One split is the usual case on a CPU, and backward through split() its gradient would be copied.
    parts = (maps,) if len(maps) == rows else maps.split(rows)
    mean, variance, splits = sums
    normalised = []
    for part in parts:
        # A momentum of 1: the split's own statistics, in a place of their own.
        own = weight.new_zeros(2, len(weight))
        normalised.append(F.batch_norm(part, own[0], own[1], weight, bias, True, 1.0, eps))
        mean += own[0]
        variance += own[1]
    splits += len(parts)
    return normalised[0] if len(parts) == 1 else torch.cat(normalised)


def all_at_once(maps: Tensor, weight: Tensor, bias: Tensor, sums: Statistics, rows: int, eps: float) -> Tensor:
    """The same, by kernels of our own for a GPU."""
    from pipeline.moco.fast.split_norm_kernels import SplitNorm  # Triton, which only comes with a torch for GPUs

    return SplitNorm.apply(maps, weight, bias, sums, rows, eps)
