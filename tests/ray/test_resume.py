"""The main job, killed in the middle of training, goes on from its last checkpoint and counts every draw once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from pipeline.artifacts import confidence_at
from pipeline.data.sampler import Sampler
from pipeline.storage import Location
from tests.reading import draws
from tests.runs import files_of

SIZE, EPOCHS = 150, 6
CHECKPOINT = "runs/r/pretrain/checkpoint.safetensors"
SETTINGS = [f"pretrain.epochs={EPOCHS}", "pretrain.batch_size=32", "pretrain.queue_size=64", "pretrain.bn_splits=2"]


def _job(name: str, store: Location, file: Path) -> list[str]:
    flags = ["--pool", f"npz:{file}", "--store", store.uri, "--run", "r", "--set", *SETTINGS]
    return [sys.executable, "-m", f"jobs.{name}", *flags]


@pytest.mark.timeout(900)
def test_killed_training_resumes_with_the_same_counts(tmp_path: Path) -> None:
    file, store = tmp_path / "digits.npz", Location(str(tmp_path / "store"))
    np.savez(file, train_images=(load_digits().images[:SIZE] * 15.9).astype(np.uint8))
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    # A process group of its own, so that the kill takes the workers too, as a lost machine would.
    select = [*_job("select", store, file), "--budget", "12"]
    job = subprocess.Popen(select, env=environment, start_new_session=True)
    deadline = time.monotonic() + 400
    while not store.exists(CHECKPOINT) and time.monotonic() < deadline and job.poll() is None:
        time.sleep(0.05)
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    assert store.exists(CHECKPOINT), "it was killed after a checkpoint"
    assert not store.exists("runs/r/pretrain/done.json")

    train = _job("pretrain", store, file)
    again = subprocess.run(train, env=environment, check=True, timeout=400, capture_output=True, text=True)
    assert "resumes after epoch" in again.stdout
    table = confidence_at(store.read_table(files_of(store, "r", "pretrain") + "/confidence.parquet"), 0.05)
    assert np.array_equal(table.count, draws(Sampler(SIZE, 1, 32, seed=0, window=10**9), EPOCHS))
    history = store.read_json(files_of(store, "r", "pretrain") + "/history.json")
    assert [epoch["epoch"] for epoch in history] == list(range(1, EPOCHS + 1))
