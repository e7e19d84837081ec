"""pool -> weights and every image's confidence.

Who calls whom: ``pretrain`` here, ``on_ray.training.train`` on the driver, ``on_ray.training_worker.train`` on each
worker, ``moco.train.pretrain``, the loop itself.
"""

from __future__ import annotations

from pipeline.artifacts import PoolManifest
from pipeline.config import store_flag
from pipeline.errors import InputError
from pipeline.moco.fit_settings import fit_to_pool
from pipeline.moco.task import PretrainTask, WorkerPlan
from pipeline.on_ray.session import cpus, gpus, gpus_now
from pipeline.on_ray.training import WORKER_CPUS, drop_checkpoint, train
from pipeline.progress import counted
from pipeline.publish import Stage, stage_of
from pipeline.results import Trained
from pipeline.run import Run


def pretrain(run: Run, pool: PoolManifest) -> Trained:
    """Train, or keep what is there. Ray is running."""
    stage, task, notes = pretrain_stage(run, pool)
    for note in notes:
        run.log(note)

    def work(files: str) -> Trained:
        return train(
            WorkerPlan(task, run.store, pool, stage.folder, files, run.config.deterministic),
            run.config.workers,
            notes,
            run.log,
        )

    trained = stage.run(work, run.log)
    if not run.config.pretrain.keep_checkpoint:
        # With optimizer and queue it is three quarters of a run's size. A stage taken over from another run has none.
        drop_checkpoint(run.store, stage.folder)
    return trained


def pretrain_stage(run: Run, pool: PoolManifest) -> tuple[Stage[Trained], PretrainTask, list[str]]:
    """The stage, the task fitted to the pool, and sentences on settings that were reduced to fit."""
    config = run.config
    settings, notes = fit_to_pool(config.pretrain, pool.size, config.workers)
    image_bytes = pool.height * pool.width * pool.channels
    window = max(int(settings.shuffle_gib * 2**30) // image_bytes, settings.batch_size)
    task = PretrainTask(settings, pool.size, pool.channels, config.seed, window)
    remedy = f"keep the setting, or start a new run with --run NEW{store_flag(config)}"
    return stage_of(run, Trained, {"pool": pool.fingerprint}, remedy), task, notes


def check_workers(run: Run) -> None:
    """Raise InputError for more workers than can ever start. Ray Train would wait for them silently.

    One worker's share of the CPUs is reserved for the processes that read images.
    """
    have, there = gpus(), cpus()
    most = max(1, int(there / WORKER_CPUS) - 1)
    if have:
        # GPUs that have not started yet bring an unknown number of CPUs.
        most = min(have, most) if gpus_now() >= have else have
    if run.config.workers > most:
        threads = counted(round(there), "CPU")
        what = f"{counted(have, 'GPU')} and {threads}" if have else f"{threads} and no GPU"
        raise InputError(
            f"{counted(run.config.workers, 'worker')} cannot train on {what}; use --workers {most} or fewer."
        )
