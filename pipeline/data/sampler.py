"""Which images make up which batch. It depends on (seed, epoch) alone and is the same on every worker.

An epoch holds each image ``repeats`` times (Table 4): one permutation for each repeat, concatenated and cut into
global batches. The last partial batch is dropped. Pools larger than the shuffle window are permuted window by window,
so that they can be streamed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.artifacts import Int64

BLOCK = 1024
"""Consecutive ids that stay in one shuffle window; whole Parquet row groups (``staging.Sizes``)."""
_SHUFFLE_STREAM = 0x5348
"""Makes the key encoder's shuffle independent of the images' order."""


@dataclass(frozen=True)
class Step:
    """One global batch of B rows."""

    index: int
    ids: Int64
    """(B,) sample ids."""
    repeat: Int64
    """(B,) the repeat of the epoch that each row belongs to."""
    window: Int64
    """(B,) the number of each row's window among those of ``Sampler.drawn``, ascending."""
    shuffle: Int64
    """(B,) the key encoder's order of the rows."""


@dataclass(frozen=True)
class Sampler:
    """The order of ids 0 .. size-1 in every epoch.

    ``window`` is the number of images that are shuffled together.
    """

    size: int
    repeats: int
    batch_size: int
    seed: int
    window: int

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return self.size * self.repeats // self.batch_size

    def windows(self, epoch: int, repeat: int) -> Iterator[Int64]:
        """All ids in the order of one repeat of an epoch, window by window."""
        rng = np.random.default_rng([self.seed, epoch, repeat])
        if self.size <= self.window:
            yield rng.permutation(self.size)
            return
        blocks = rng.permutation(-(-self.size // BLOCK))
        for chosen in np.array_split(blocks, -(-self.size // self.window)):
            ids = (chosen[:, None] * BLOCK + np.arange(BLOCK)).ravel()
            yield rng.permutation(ids[ids < self.size])

    def drawn(self, epoch: int) -> Iterator[tuple[int, Int64]]:
        """The windows of one epoch in order, without the dropped partial batch: (repeat, ids (n,))."""
        left = self.steps * self.batch_size
        for repeat in range(self.repeats):
            for window in self.windows(epoch, repeat):
                ids = window[:left]
                left -= len(ids)
                if len(ids):
                    yield repeat, ids

    def epoch(self, epoch: int) -> Iterator[Step]:
        """The global batches of one epoch."""
        left = np.empty((3, 0), np.int64)
        index = 0
        for number, (repeat, order) in enumerate(self.drawn(epoch)):
            drawn = np.stack([order, np.full(len(order), repeat), np.full(len(order), number)])
            left = np.concatenate([left, drawn], 1)
            whole = left.shape[1] // self.batch_size * self.batch_size
            for start in range(0, whole, self.batch_size):
                shuffle = np.random.default_rng([self.seed, epoch, index, _SHUFFLE_STREAM]).permutation(self.batch_size)
                ids, repeats, windows = left[:, start : start + self.batch_size]
                yield Step(index, ids, repeats, windows, shuffle)
                index += 1
            left = left[:, whole:]
