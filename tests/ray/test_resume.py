"""The main job, killed in the middle of training, goes on from its last checkpoint and counts every draw once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
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
SETTINGS = [
    "preset=hacon",
    f"pretrain.epochs={EPOCHS}",
    "pretrain.batch_size=32",
    "pretrain.queue_size=64",
    "pretrain.bn_splits=2",
]


def _job(name: str, store: Location, file: Path) -> list[str]:
    flags = ["--pool", f"npz:{file}", "--store", store.uri, "--run", "r", "--set", *SETTINGS]
    return [sys.executable, "-m", f"jobs.{name}", *flags]


def _run(command: list[str], log: Path, until: Callable[[], bool] = lambda: False) -> tuple[int, str]:
    """Exit code of a job, and all that it says; killed with its workers, as a lost machine is, as soon as ``until``.

    Once more where its Ray did not start, as a user would: Ray gives itself 30 s, too few beside other tests.
    """
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    for _ in range(3):
        with log.open("w") as said:
            job = subprocess.Popen(command, env=environment, stdout=said, stderr=said, start_new_session=True)
        deadline = time.monotonic() + 250
        while job.poll() is None and time.monotonic() < deadline:
            if until():
                break
            time.sleep(0.05)
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
            job.wait()
        if "The current node timed out during startup" not in log.read_text():
            break
    return job.returncode, log.read_text()


@pytest.mark.timeout(900)
def test_killed_training_resumes_with_the_same_counts(tmp_path: Path) -> None:
    file, store = tmp_path / "digits.npz", Location(str(tmp_path / "store"))
    np.savez(file, train_images=(load_digits().images[:SIZE] * 15.9).astype(np.uint8))
    select = [*_job("select", store, file), "--budget", "12"]
    code, said = _run(select, tmp_path / "select.log", until=lambda: store.exists(CHECKPOINT))
    assert code == -signal.SIGKILL and store.exists(CHECKPOINT), said
    assert not store.exists("runs/r/pretrain/done.json")

    code, said = _run(_job("pretrain", store, file), tmp_path / "pretrain.log")
    assert code == 0 and "resumes after epoch" in said, said
    table = confidence_at(store.read_table(files_of(store, "r", "pretrain") + "/confidence.parquet"), 0.05)
    assert np.array_equal(table.count, draws(Sampler(SIZE, 1, 32, seed=0, window=10**9), EPOCHS))
    history = store.read_json(files_of(store, "r", "pretrain") + "/history.json")
    assert [epoch["epoch"] for epoch in history] == list(range(1, EPOCHS + 1))
