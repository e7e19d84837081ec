"""Batch norm over fixed parts of a batch (SplitBatchNorm of MoCo's own CIFAR demo), several parts in one call.

The rest of the network goes over all rows of a call at once, however many splits they are (``moco.lanes``); the splits
are what the number of workers must not change. Legend: n = rows of a call, C = channels.
"""

from __future__ import annotations

from collections.abc import Sequence

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


def one_by_one(maps: Tensor, weight: Tensor, bias: Tensor, rows: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised maps (n, C, H, W); mean and unbiased variance of every split, (splits, C). torch's own kernels."""
    parts = maps.split(rows)
    # A momentum of 1: each split's own statistics, in a place of their own.
    own = weight.new_zeros(2, len(parts), len(weight))
    places = zip(parts, own[0], own[1], strict=True)
    normalised = [F.batch_norm(part, mean, var, weight, bias, True, 1.0, eps) for part, mean, var in places]
    return normalised[0] if len(parts) == 1 else torch.cat(normalised), own[0], own[1]


def all_at_once(maps: Tensor, weight: Tensor, bias: Tensor, rows: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """The same, by kernels of our own for a GPU."""
    from pipeline.moco.split_norm_kernels import SplitNorm  # Triton, which only comes with a torch for GPUs

    normalised, means, variances = SplitNorm.apply(maps, weight, bias, rows, eps)
    pixels = rows * maps.shape[2] * maps.shape[3]
    return normalised, means, variances * (pixels / max(pixels - 1, 1))
