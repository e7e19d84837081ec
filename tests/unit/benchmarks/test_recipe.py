"""What is carried from a machine without Ray: the encoder to float16's rounding, the sums exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from benchmarks import recipe
from pipeline.checkpoint import Checkpoint
from pipeline.config import PretrainConfig
from pipeline.context import LocalContext
from pipeline.moco.resident import ResidentPixels
from pipeline.moco.task import PretrainTask
from pipeline.moco.train import pretrain

CONFIG = PretrainConfig(epochs=2, repeats=1, batch_size=16, queue_size=32, bn_splits=2, warmup_epochs=1)


@pytest.mark.usefixtures("tiny_encoder")
def test_a_carried_training_is_a_finished_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = (load_digits().images[:40, :, :, None] * 15.9).astype(np.uint8)
    task, trained = PretrainTask(CONFIG, 40, 1, 0, 10**6), LocalContext()
    pixels = ResidentPixels.of_array(images, torch.device("cpu"))
    pretrain(task, pixels, trained)
    assert trained.last is not None
    monkeypatch.setattr(recipe, "_PART_BYTES", 4096)  # several files
    recipe.keep(trained.last, tmp_path)
    assert len(list(tmp_path.glob("weights-*.safetensors"))) > 1

    recipe.carried(tmp_path).save(tmp_path / "checkpoint")
    resumed = LocalContext(last=Checkpoint.load(tmp_path / "checkpoint"))
    final = pretrain(task, pixels, resumed)
    assert not resumed.history, "it trained on"
    for name, tensor in trained.last.part("model.query_encoder").items():
        torch.testing.assert_close(final.part("model.query_encoder")[name], tensor, rtol=1e-3, atol=1e-4)
    for name, tensor in trained.last.part("confidence").items():
        assert torch.equal(final.part("confidence")[name], tensor), name
