"""The confidence accumulator: dense per-sample sums, shared by all workers (Eq. 3).

Each worker adds its own rows; ``end_epoch`` adds up the workers' shares and folds in the epoch.
N = pool size, T = temperatures. State: 32 T + 16 bytes a sample, and 16 T + 8 more within an epoch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from pipeline import dist
from pipeline.artifacts import CONFIDENCE_SCHEMA, Float64


class ConfidenceAccumulator(nn.Module):
    """Count, sum and sum of squares, over draws and over epoch means, for every sample and temperature.

    A module only so that its sums travel with the model's weights: one ``state_dict``, one checkpoint.
    """

    draws: Tensor
    draw_sum: Tensor
    draw_squares: Tensor
    epochs: Tensor
    epoch_sum: Tensor
    epoch_squares: Tensor

    def __init__(self, size: int, temperatures: Sequence[float]) -> None:
        super().__init__()
        self.temperatures = tuple(temperatures)
        for name in ("draws", "epochs"):
            self.register_buffer(name, torch.zeros(size, dtype=torch.int64))
        for name in ("draw_sum", "draw_squares", "epoch_sum", "epoch_squares"):
            self.register_buffer(name, torch.zeros(size, len(self.temperatures), dtype=torch.float64))
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self._count = torch.zeros_like(self.draws)
        self._sum = torch.zeros_like(self.draw_sum)
        self._squares = torch.zeros_like(self.draw_squares)

    def add(self, ids: Tensor, probability: Tensor) -> None:
        """Add this worker's draws: ids (n,), probability (n, T). An id may come more than once."""
        if self._sum.device != self.draw_sum.device:
            self._begin_epoch()
        value = probability.to(torch.float64)
        self._count.index_add_(0, ids, torch.ones_like(ids))
        self._sum.index_add_(0, ids, value)
        self._squares.index_add_(0, ids, value.square())

    def end_epoch(self) -> None:
        """Add up the workers' shares and close the epoch; every worker then holds the same sums."""
        count, total, squares = (dist.all_reduce_sum(share) for share in (self._count, self._sum, self._squares))
        seen = count > 0
        mean = total / count.clamp_min(1)[:, None]
        self.draws += count
        self.draw_sum += total
        self.draw_squares += squares
        self.epochs += seen
        self.epoch_sum += mean
        self.epoch_squares += mean.square()
        self._begin_epoch()

    def table(self) -> pa.Table:
        """One row a sample and temperature (CONFIDENCE_SCHEMA)."""
        draws, epochs = self.draws.cpu().numpy(), self.epochs.cpu().numpy()
        parts = []
        for column, temperature in enumerate(self.temperatures):
            confidence, variability = _moments(epochs, self.epoch_sum[:, column], self.epoch_squares[:, column])
            _, over_draws = _moments(draws, self.draw_sum[:, column], self.draw_squares[:, column])
            values = [
                np.arange(len(draws)),
                np.full(len(draws), temperature),
                draws,
                confidence,
                variability,
                over_draws,
            ]
            parts.append(pa.table(values, schema=CONFIDENCE_SCHEMA))
        return pa.concat_tables(parts)


def _moments(count: np.ndarray, total: Tensor, squares: Tensor) -> tuple[Float64, Float64]:
    """Mean and (population) standard deviation from sums; NaN where nothing was counted."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total.cpu().numpy() / count
        variance = squares.cpu().numpy() / count - mean**2
    return mean, np.sqrt(np.maximum(variance, 0))
