"""Who sends which images of a batch to whom, where each worker has read a part of the pool.

Everybody works it out alone, from the sampler's plan: nothing is asked for and nothing is counted. B = rows of the
global batch, W = workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.artifacts import Int64
from pipeline.data.sampler import Step


@dataclass(frozen=True)
class Share:
    """What one worker reads of a shuffle window: neighbours, so that two hardly ever need the same row group."""

    starts: Int64
    """(W,) the lowest id of each worker's. Shares ascend from worker to worker; those without any id are the last."""
    ids: Int64
    """(n,) of this worker, ascending."""

    @classmethod
    def of(cls, window: Int64, workers: int, worker: int) -> Share:
        """The share of ``worker``, of a window's distinct ids (m,) in any order."""
        shares = np.array_split(np.sort(window), workers)
        starts = [share[0] if len(share) else np.iinfo(np.int64).max for share in shares]
        return cls(np.array(starts), shares[worker].copy())  # a copy, or the whole window would be held

    def holder(self, ids: Int64) -> Int64:
        """Which worker reads each of ``ids`` (k,) of the window."""
        return np.searchsorted(self.starts, ids, side="right") - 1


@dataclass(frozen=True)
class Exchange:
    """One worker's messages of one batch, as rows of the batch, ascending in each message."""

    send: list[Int64]
    """To each worker."""
    receive: list[Int64]
    """From each."""

    @classmethod
    def of(cls, step: Step, parts: Sequence[slice], holder: Int64, worker: int) -> Exchange:
        """The messages of ``worker``. Each gets the rows that it encodes: of the batch, and of the shuffled one.

        Args:
            parts: each worker's rows.
            holder: (B,) who has read the image of each row.
        """
        needed = np.zeros((len(parts), len(step.ids)), bool)
        for row, part in zip(needed, parts, strict=True):
            row[part] = row[step.shuffle[part]] = True
        return cls(
            [np.flatnonzero(row & (holder == worker)) for row in needed],
            [np.flatnonzero(needed[worker] & (holder == other)) for other in range(len(parts))],
        )
