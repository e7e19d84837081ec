"""What a worker takes from the store, though another job may write there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.artifacts import PoolManifest
from pipeline.checkpoint import Checkpoint
from pipeline.config import PretrainConfig
from pipeline.moco.task import PretrainTask, WorkerPlan
from pipeline.progress import silent
from pipeline.results import CHECKPOINT
from pipeline.storage import Location


def test_stream_and_training_begin_at_the_same_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another job of the run, begun by mistake, may put a later one in its place between the two."""
    from pipeline.on_ray.training_worker import _StoreContext

    monkeypatch.setattr("ray.train.torch.get_device", lambda: torch.device("cpu"))
    manifest = PoolManifest("p", "test", "pool", 9, 4, 4, 3, {"train": 9}, None, 0, 0, "")
    task = PretrainTask(PretrainConfig(), 9, 3, 0, 9)
    context = _StoreContext(WorkerPlan(task, Location(str(tmp_path)), manifest, "pretrain", "files"), silent)
    assert context.epochs_done() == 0 and context.restore() is None
    (tmp_path / "pretrain").mkdir()
    for epochs in (2, 3):
        weights = {"weight": torch.full((1,), float(epochs))}
        Checkpoint(weights, {"history": [{}] * epochs}).save(tmp_path / "pretrain" / CHECKPOINT)
        if epochs == 2:
            assert context.epochs_done() == 2
    for epochs in (2, 3):  # the one that was looked at, and then the last
        restored = context.restore()
        assert restored is not None and restored.tensors["weight"].item() == len(restored.facts["history"]) == epochs
