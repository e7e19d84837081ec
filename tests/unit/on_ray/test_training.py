"""What the driver knows before any worker starts, and what it does when they fail."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pipeline.artifacts import PoolManifest
from pipeline.config import PretrainConfig, RunConfig
from pipeline.errors import InputError
from pipeline.moco.task import PretrainTask, WorkerPlan
from pipeline.on_ray import training
from pipeline.on_ray.session import AUTOSCALED_GPUS
from pipeline.progress import silent
from pipeline.results import CHECKPOINT, HISTORY, KEPT
from pipeline.run import Run
from pipeline.stages.pretrain import check_workers
from pipeline.storage import Location


@pytest.mark.parametrize(
    ("there", "most"),
    [
        ({"CPU": 1}, 1),
        ({"CPU": 2}, 3),
        ({"CPU": 16, "GPU": 8}, 8),
        ({"CPU": 4, "GPU": 8}, 7),
        ({"CPU": 2, AUTOSCALED_GPUS: 4}, 4),
        ({"CPU": 2, "GPU": 1, AUTOSCALED_GPUS: 4}, 4),
    ],
    ids=["one CPU", "two", "GPUs", "GPUs and hardly a CPU", "GPUs to come", "and one there"],
)
def test_workers_that_could_never_start_are_refused(
    there: dict[str, float], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker takes half a CPU, and one more share is for who reads."""
    monkeypatch.setattr("ray.cluster_resources", lambda: there)
    check_workers(Run(RunConfig(workers=most), Location("s3://b/x"), silent))
    with pytest.raises(InputError, match=f"{most + 1} workers cannot train on .*; use --workers {most} or fewer"):
        check_workers(Run(RunConfig(workers=most + 1), Location("s3://b/x"), silent))


class Fits:
    """In place of Ray Train's: each call is one of ``outcomes``, a step further or a failure."""

    def __init__(self, store: Location, outcomes: str) -> None:
        self.store, self.outcomes, self.calls = store, outcomes, 0

    def __call__(self, plan: WorkerPlan, workers: int, say: object) -> None:
        from ray.train import WorkerGroupError

        outcome = self.outcomes[self.calls]
        self.calls += 1
        if outcome == "c":  # a checkpoint, and then the node is gone
            self.store.write_bytes(f"{plan.folder}/{CHECKPOINT}", b"")
            os.utime(self.store.path(f"{plan.folder}/{CHECKPOINT}"), ns=(self.calls, self.calls))
        if outcome in "cf":
            raise WorkerGroupError("the worker died", {0: RuntimeError("the worker died")})
        if outcome == "b":
            raise WorkerGroupError("bad input", {0: RuntimeError("gone"), 1: InputError("bfloat16 cannot be here")})
        self.store.write_json(f"{plan.files}/{KEPT}", {"weights": "w", "dimensions": 2})
        self.store.write_json(f"{plan.files}/{HISTORY}", [{"loss": 1.0}])


@pytest.mark.parametrize(
    ("outcomes", "error"),
    [
        ("d", None),
        ("fffd", None),
        ("ffff", "the worker died"),
        ("cfff", "the worker died"),
        ("cffcffcffd", None),
        ("fb", "bfloat16 cannot be here"),
    ],
    ids=["none", "three", "four", "four since a checkpoint", "many, with checkpoints between", "bad input"],
)
def test_a_training_goes_on_as_long_as_it_gets_further(
    outcomes: str, error: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, said = Location(str(tmp_path)), list[str]()
    fits = Fits(store, outcomes)
    monkeypatch.setattr(training, "_fit", fits)
    manifest = PoolManifest("p", "test", "pool", 9, 4, 4, 3, {"train": 9}, None, 0, 0, "")
    plan = WorkerPlan(PretrainTask(PretrainConfig(), 9, 3, 0, 9), store, manifest, "runs/r/pretrain", "files")
    if error is None:
        assert training.train(plan, 2, ["a note"], said.append).loss == 1.0
        assert len(said) == len(outcomes) - 1 and all("the worker died" in line for line in said)
    else:
        from ray.train import TrainingFailedError

        with pytest.raises(InputError if "b" in outcomes else TrainingFailedError, match=error):
            training.train(plan, 2, [], said.append)
    assert fits.calls == len(outcomes.rstrip("d")) + (error is None)


def test_ctrl_c_is_ours_again_and_is_no_success() -> None:
    before = signal.getsignal(signal.SIGINT)

    def as_ray_train_does(*_: object) -> None:
        raise SystemExit(0)

    def train() -> None:
        with training._ctrl_c_ends_it():
            signal.signal(signal.SIGINT, as_ray_train_does)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train()
    assert signal.getsignal(signal.SIGINT) is before
