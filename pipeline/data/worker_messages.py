"""Which worker sends which images of a batch to which other, when each has read a part of the pool.

Every worker computes this alone from the sampler's plan, without communication. B = rows of the global batch,
W = workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.artifacts import Int64
from pipeline.data.sampler import Step


@dataclass(frozen=True)
class Share:
    """What one worker reads of a shuffle window: neighbouring ids, so that workers rarely share a row group."""

    starts: Int64
    """(W,) the lowest id of each worker's share. Shares ascend with the worker's rank; empty ones come last."""
    ids: Int64
    """(n,) this worker's ids, ascending."""

    @classmethod
    def of(cls, window: Int64, workers: int, worker: int) -> Share:
        """The share of ``worker`` in a window of distinct ids (m,), in any order."""
        shares = np.array_split(np.sort(window), workers)
        starts = [share[0] if len(share) else np.iinfo(np.int64).max for share in shares]
        return cls(np.array(starts), shares[worker].copy())  # a view would keep the whole window in memory

    def holder(self, ids: Int64) -> Int64:
        """Which worker reads each of ``ids`` (k,) of the window."""
        return np.searchsorted(self.starts, ids, side="right") - 1


@dataclass(frozen=True)
class Exchange:
    """One worker's messages for one batch. A message is a list of the batch's rows, ascending."""

    send: list[Int64]
    """To each worker."""
    receive: list[Int64]
    """From each worker."""

    @classmethod
    def of(cls, step: Step, parts: Sequence[slice], holder: Int64, worker: int) -> Exchange:
        """The messages of ``worker``. Every worker gets the rows it encodes, of the batch and of the shuffled batch.

        Args:
            parts: each worker's rows.
            holder: (B,) which worker has read each row's image.
        """
        needed = np.zeros((len(parts), len(step.ids)), bool)
        for row, part in zip(needed, parts, strict=True):
            row[part] = row[step.shuffle[part]] = True
        return cls(
            [np.flatnonzero(row & (holder == worker)) for row in needed],
            [np.flatnonzero(needed[worker] & (holder == other)) for other in range(len(parts))],
        )
