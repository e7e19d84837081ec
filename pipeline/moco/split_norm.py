"""Batch norm over fixed parts of a batch (SplitBatchNorm of MoCo's own CIFAR demo), several parts in one call.

The rest of the network goes over all of a worker's rows at once, which is what makes it fast; the parts are what
the number of workers must not change. Legend: n = rows of a call, C = channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SplitBatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` that sees ``split_rows`` rows at a time: as many calls, one after the other.

    Its running statistics are the plain mean over an epoch's splits, which can be merged over workers
    exactly; a moving average cannot.
    """

    split_rows: int | None = None
    """Rows of a split; none: all rows of a call are one."""
    _splits_seen = 0
    """In this epoch. Counted here too, since asking the device would wait for it, layer by layer."""

    @classmethod
    def like(cls, layer: nn.BatchNorm2d, split_rows: int | None) -> SplitBatchNorm2d:
        """``layer``, sharing its weights and statistics."""
        new = cls(layer.num_features, layer.eps, device="meta")
        new.weight, new.bias = layer.weight, layer.bias
        new.running_mean, new.running_var = layer.running_mean, layer.running_var
        new.num_batches_tracked = layer.num_batches_tracked
        new.split_rows = split_rows
        return new

    def begin_epoch(self) -> None:
        """Forget the statistics."""
        self._splits_seen = 0
        self.reset_running_stats()

    def forward(self, maps: Tensor) -> Tensor:
        """(n, C, H, W) -> the same; in training n is a multiple of ``split_rows``."""
        if not self.training:
            return F.batch_norm(maps, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        rows = self.split_rows or len(maps)
        assert len(maps) % rows == 0, f"{len(maps)} rows are not whole splits of {rows}"
        parts = [self._normalised(split) for split in maps.split(rows)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _normalised(self, split: Tensor) -> Tensor:
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        self._splits_seen += 1
        statistics, share = (self.running_mean, self.running_var), 1 / self._splits_seen
        return F.batch_norm(split, *statistics, self.weight, self.bias, training=True, momentum=share, eps=self.eps)
