"""pool -> weights and confidence, with Ray Train: what the driver does.

Ray Train starts the workers; on one machine with one worker it runs the loop in this process (its local mode), which
spares half a minute of processes being started. A worker's part, and the checkpoint on the store from which all of
them resume, is ``training_worker``.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import ray

from pipeline.artifacts import PoolManifest
from pipeline.config import RunConfig, store_flag, to_dict
from pipeline.errors import InputError
from pipeline.moco.fit import fit_to_pool
from pipeline.moco.task import PretrainTask
from pipeline.on_ray.failures import bad_input
from pipeline.on_ray.plan import CHECKPOINT, HISTORY, KEPT, WorkerPlan
from pipeline.on_ray.session import gpus, only_this_machine
from pipeline.publish import Stage, run_folder
from pipeline.storage import Location

_NOT_DECISIVE = ("checkpoint_every", "pool_memory_gib")
"""Settings that do not change the result, like the number of workers."""
_FAILURES = 3
"""In a row, without a checkpoint between them; one more ends the job. Ray Train counts over the whole training and does
not begin again, so that a night's fourth lost spot node would end it."""
_WORKER_CPUS = 0.5
"""Logical: a worker sets its own threads, and whoever reads for it must always find a slot."""


def check_workers(config: RunConfig) -> None:
    """Raise InputError for more workers than can ever start: Ray Train would wait for them without a word.

    One worker's share of the CPUs is left for those who read for them, who would not start either.
    """
    have, there = gpus(), ray.cluster_resources()
    cpus = there.get("CPU", 0)
    most = max(1, int(cpus / _WORKER_CPUS) - 1)
    if have:
        # How many CPUs come with GPUs that are still to start, nobody knows.
        most = min(have, most) if there.get("GPU", 0) >= have else have
    if config.workers > most:
        what = f"{have} GPUs and {cpus:.0f} CPUs" if have else f"{cpus:.0f} CPUs and no GPU"
        raise InputError(f"{config.workers} workers cannot train on {what}; use --workers {most} or fewer.")


def pretrain_stage(config: RunConfig, store: Location, pool: PoolManifest) -> tuple[Stage, PretrainTask, list[str]]:
    """The stage, the task fitted to the pool, and what was chosen down."""
    settings, notes = fit_to_pool(config.pretrain, pool.size, config.workers)
    image_bytes = pool.height * pool.width * pool.channels
    window = max(int(settings.shuffle_gib * 2**30) // image_bytes, settings.batch_size)
    task = PretrainTask(settings, pool.size, pool.channels, config.seed, window)
    decisive = {k: v for k, v in to_dict(config)["pretrain"].items() if k not in _NOT_DECISIVE}
    stage = Stage(
        store,
        run_folder(config.run, "pretrain"),
        {"pool": pool.fingerprint, "seed": config.seed, **{f"pretrain.{k}": v for k, v in decisive.items()}},
        f"keep the setting, or start a new run with --run NEW{store_flag(config)}",
        reuse=None if config.reuse is None else run_folder(config.reuse, "pretrain"),
    )
    return stage, task, notes


def run_pretrain(config: RunConfig, store: Location, pool: PoolManifest, say: Callable[[str], None]) -> dict[str, Any]:
    """Train, or keep what is there.

    Returns:
        The stage's result: files in its ``folder``, ``notes``, the final loss.
    """
    stage, task, notes = pretrain_stage(config, store, pool)
    for note in notes:
        say(note)

    def work(files: str) -> dict[str, Any]:
        return {**_train(WorkerPlan(task, store, pool, stage.folder, files), config.workers, say), "notes": notes}

    return stage.run(work, say)


def _train(plan: WorkerPlan, workers: int, say: Callable[[str], None]) -> dict[str, Any]:
    # Here, since it loads torch, which the other stages' drivers do without.
    from ray.train import TrainingFailedError

    store, task = plan.store, plan.task
    store.make_folder(plan.folder)
    failures, reached = 0, None
    while True:
        try:
            with _ctrl_c_ends_it():
                _fit(plan, workers)
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
    return {**kept, "arch": task.config.arch, "loss": history[-1]["loss"], "fitted": fitted}


def _fit(plan: WorkerPlan, workers: int) -> None:
    from ray.train import LoggingConfig, ScalingConfig
    from ray.train import RunConfig as TrainRunConfig
    from ray.train.torch import TorchTrainer

    parent, _, name = plan.folder.rpartition("/")
    resources = {"CPU": _WORKER_CPUS, "GPU": 1} if gpus() else {"CPU": _WORKER_CPUS}
    in_this_process = workers == 1 and only_this_machine()
    TorchTrainer(
        _worker,
        train_loop_config={"plan": plan},
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


def _checkpointed(plan: WorkerPlan) -> int | None:
    """When the last checkpoint was written, if there is one."""
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

    train(settings["plan"])
