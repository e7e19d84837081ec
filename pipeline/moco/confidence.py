"""The confidence accumulator: dense per-sample sums, shared by all workers (Eq. 3).

Each worker adds its own rows; ``end_epoch`` adds up the workers' shares and folds in the epoch.
N = pool size, T = temperatures. A sample takes 32 T + 16 bytes of state, and 16 T + 8 more within an epoch. Where an
epoch draws each sample once at most, as in all large pools, it takes 16 T + 8 and 8 T + 8 (T = 4: 112 instead of 216).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from pipeline import dist
from pipeline.artifacts import CONFIDENCE_SCHEMA, Float64

_ROWS_AT_ONCE = 1 << 20
"""Samples folded at the end of an epoch, or tabulated, at a time: what is held in between does not grow with N."""


class ConfidenceAccumulator(nn.Module):
    """Count, sum and sum of squares, over draws and over epoch means, for every sample and temperature.

    A module only so that its sums travel with the model's weights: one ``state_dict``, one checkpoint.

    Args:
        size: N.
        temperatures: T of them.
        repeats: how often an epoch draws a sample at most. At 1 a draw is its epoch's mean, so that the sums
            over both are one and the same and are held once.
    """

    draws: Tensor
    draw_sum: Tensor
    draw_squares: Tensor
    epochs: Tensor
    epoch_sum: Tensor
    epoch_squares: Tensor

    def __init__(self, size: int, temperatures: Sequence[float], repeats: int | None = None) -> None:
        super().__init__()
        self.temperatures = tuple(temperatures)
        self._once = repeats == 1
        for name in ("draws",) if self._once else ("draws", "epochs"):
            self.register_buffer(name, torch.zeros(size, dtype=torch.int64))
        by_epoch, by_draw = ("epoch_sum", "epoch_squares"), ("draw_sum", "draw_squares")
        for name in by_epoch if self._once else (*by_draw, *by_epoch):
            self.register_buffer(name, torch.zeros(size, len(self.temperatures), dtype=torch.float64))
        self._begin_epoch()

    def _begin_epoch(self) -> None:
        self._count = torch.zeros_like(self.draws)
        self._sum = torch.zeros_like(self.epoch_sum)
        self._squares = None if self._once else torch.zeros_like(self.draw_squares)

    def add(self, ids: Tensor, probability: Tensor) -> None:
        """Add this worker's draws: ids (n,), probability (n, T). An id may come up to ``repeats`` times an epoch."""
        if self._sum.device != self.epoch_sum.device:
            self._begin_epoch()
        value = probability.to(torch.float64)
        self._count.index_add_(0, ids, torch.ones_like(ids))
        self._sum.index_add_(0, ids, value)
        if self._squares is not None:
            self._squares.index_add_(0, ids, value.square())

    def end_epoch(self) -> None:
        """Add up the workers' shares and close the epoch; every worker then holds the same sums.

        Raises:
            ValueError: a sample was drawn twice in an epoch that was to draw it once.
        """
        for start in range(0, len(self.draws), _ROWS_AT_ONCE):
            self._fold(slice(start, start + _ROWS_AT_ONCE))

    def _fold(self, rows: slice) -> None:
        count, total = dist.all_reduce_sum(self._count[rows]), dist.all_reduce_sum(self._sum[rows])
        if self._squares is None:
            most = int(count.max())
            if most > 1:
                raise ValueError(f"a sample was drawn {most} times in one epoch; with repeats=1 it is once at most")
            mean = total
        else:
            squares = dist.all_reduce_sum(self._squares[rows])
            mean = total / count.clamp_min(1)[:, None]
            self.epochs[rows] += count > 0
            self.draw_sum[rows] += total
            self.draw_squares[rows] += squares
            squares.zero_()
        self.draws[rows] += count
        self.epoch_sum[rows] += mean
        self.epoch_squares[rows] += mean.square()
        count.zero_()
        total.zero_()

    def table(self) -> pa.Table:
        """One row a sample and temperature (CONFIDENCE_SCHEMA)."""
        return pa.concat_tables(self.tables()) if len(self.draws) else CONFIDENCE_SCHEMA.empty_table()

    def tables(self) -> Iterator[pa.Table]:
        """``table`` in parts, temperature after temperature: what is held beside the sums does not grow with N."""
        for column in range(len(self.temperatures)):
            for start in range(0, len(self.draws), _ROWS_AT_ONCE):
                yield self._part(column, slice(start, start + _ROWS_AT_ONCE))

    def _part(self, column: int, rows: slice) -> pa.Table:
        draws = self.draws[rows].cpu().numpy()
        epochs = draws if self._once else self.epochs[rows].cpu().numpy()
        confidence, variability = _moments(epochs, self.epoch_sum[rows, column], self.epoch_squares[rows, column])
        over_draws = variability
        if not self._once:
            _, over_draws = _moments(draws, self.draw_sum[rows, column], self.draw_squares[rows, column])
        ids = np.arange(rows.start, rows.start + len(draws))
        temperature = np.full(len(draws), self.temperatures[column])
        return pa.table([ids, temperature, draws, confidence, variability, over_draws], schema=CONFIDENCE_SCHEMA)


def _moments(count: np.ndarray, total: Tensor, squares: Tensor) -> tuple[Float64, Float64]:
    """Mean and (population) standard deviation from sums; NaN where nothing was counted."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total.cpu().numpy() / count
        variance = squares.cpu().numpy() / count - mean**2
    return mean, np.sqrt(np.maximum(variance, 0))
