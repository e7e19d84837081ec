"""pool -> weights and confidence, with Ray Train: what the driver does.

Ray Train starts the workers. On one machine with one worker it runs the loop in this process (its local mode), which
saves half a minute of starting processes. ``training_worker`` has the worker's part, and the checkpoint on the store
from which all workers resume.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from pipeline.moco.task import WorkerPlan
from pipeline.on_ray.failures import bad_input
from pipeline.on_ray.session import gpus, only_this_machine
from pipeline.results import CHECKPOINT, HISTORY, KEPT, Trained
from pipeline.storage import Location

WORKER_CPUS = 0.5
"""Logical CPUs of a worker, which sets its own number of threads. Tasks that read for it must always find a slot."""
_FAILURES = 3
"""In a row, without a checkpoint between them; one more ends the job. Ray Train counts over the whole training and does
not begin again, so that a night's fourth lost spot node would end it."""


def train(plan: WorkerPlan, workers: int, notes: list[str], say: Callable[[str], None]) -> Trained:
    """Train from the last checkpoint to the end. Lost workers and nodes are replaced.

    Raises:
        InputError: bad input that a worker met.
    """
    # Imported here: it loads torch, which the drivers of other stages do not need.
    from ray.train import TrainingFailedError

    store, task = plan.store, plan.task
    store.make_folder(plan.folder)
    failures, reached = 0, None
    while True:
        try:
            with _ctrl_c_ends_it():
                _fit(plan, workers, say)
            break
        except TrainingFailedError as error:
            if (refused := bad_input(error)) is not None:
                raise refused from None
            before, reached = reached, _checkpointed(plan)
            failures = 1 if reached != before else failures + 1
            if failures > _FAILURES:
                raise
            say(f"training broke off and goes on from its last checkpoint: {str(error).splitlines()[-1][:200]}")
    kept = store.read_json(f"{plan.files}/{KEPT}")
    history = store.read_json(f"{plan.files}/{HISTORY}")
    fitted = {**asdict(task.config), "window": task.window}
    return Trained(**kept, arch=task.config.arch, loss=history[-1]["loss"], fitted=fitted, notes=notes)


def _fit(plan: WorkerPlan, workers: int, say: Callable[[str], None]) -> None:
    from ray.train import LoggingConfig, ScalingConfig
    from ray.train import RunConfig as TrainRunConfig
    from ray.train.torch import TorchTrainer

    parent, _, name = plan.folder.rpartition("/")
    resources = {"CPU": WORKER_CPUS, "GPU": 1} if gpus() else {"CPU": WORKER_CPUS}
    in_this_process = workers == 1 and only_this_machine()
    TorchTrainer(
        _worker,
        train_loop_config={"plan": plan, "say": say if in_this_process else None},
        scaling_config=ScalingConfig(
            num_workers=0 if in_this_process else workers, use_gpu=gpus() > 0, resources_per_worker=resources
        ),
        run_config=TrainRunConfig(
            name=name,
            storage_path=plan.store.path(parent),
            storage_filesystem=plan.store.filesystem,
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    ).fit()


def drop_checkpoint(store: Location, folder: str) -> None:
    """Delete the checkpoint of a finished training. ``folder`` is that of its stage."""
    store.delete_file(f"{folder}/{CHECKPOINT}")


def _checkpointed(plan: WorkerPlan) -> int | None:
    """When the last checkpoint was written; None: there is none."""
    times = [time for name, _, time in plan.store.files(plan.folder) if name == CHECKPOINT]
    return times[0] if times else None


@contextmanager
def _ctrl_c_ends_it() -> Iterator[None]:
    """Ray Train takes Ctrl-C for itself, keeps it when it is done, and calls an interrupted job a success."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, before)


def _worker(settings: dict[str, Any]) -> None:
    # Here, so that Ray Train's controller, which passes this function on, need not load all of it.
    from pipeline.on_ray.training_worker import train

    train(settings["plan"], settings["say"])
