"""What pre-training is asked to do. It is small and needs no torch, so that a driver can plan without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.artifacts import PoolManifest
from pipeline.config import PretrainConfig
from pipeline.data.sampler import Sampler

if TYPE_CHECKING:  # boto3 comes with it, which not every machine with a GPU has
    from pipeline.storage import Location


@dataclass(frozen=True)
class PretrainTask:
    """All that decides the result. ``config`` is fitted to the pool (see ``moco.fit``): repeats is a number."""

    config: PretrainConfig
    size: int
    channels: int
    seed: int
    window: int
    """Images in the shuffle window."""

    @property
    def sampler(self) -> Sampler:
        """Which images make up which batch."""
        assert self.config.repeats is not None
        return Sampler(self.size, self.config.repeats, self.config.batch_size, self.seed, self.window)


@dataclass(frozen=True)
class WorkerPlan:
    """What every training worker is given."""

    task: PretrainTask
    store: Location
    manifest: PoolManifest
    folder: str
    """The stage's folder on the store: the checkpoint is in it, from which any attempt goes on."""
    files: str
    """This attempt's folder, for what later stages read."""
    deterministic: bool = False
    """Compute on one thread: sums are then taken in one order, whatever the number of cores."""
