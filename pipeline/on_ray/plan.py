"""What the driver and the training workers share: the plan, and the names of the files that training leaves."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.artifacts import PoolManifest
from pipeline.moco.task import PretrainTask
from pipeline.storage import Location

WEIGHTS, CONFIDENCE, HISTORY = "weights.safetensors", "confidence.parquet", "history.json"
CHECKPOINT = "checkpoint.safetensors"
"""The whole state of the training at the end of the last epoch that was kept."""
KEPT = "kept.json"
"""Facts of the files above: fingerprint of the weights, dimensions of the features."""


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
