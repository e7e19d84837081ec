"""pool -> weights and every image's confidence."""

from __future__ import annotations

from pipeline.artifacts import PoolManifest
from pipeline.config import store_flag
from pipeline.errors import InputError
from pipeline.moco.fit import fit_to_pool
from pipeline.moco.task import PretrainTask, WorkerPlan
from pipeline.on_ray.session import cpus, gpus, gpus_now
from pipeline.on_ray.training import WORKER_CPUS, drop_checkpoint, train
from pipeline.publish import Stage, stage_of
from pipeline.results import Trained
from pipeline.run import Run


def pretrain(run: Run, pool: PoolManifest) -> Trained:
    """Train, or keep what is there. Ray is running."""
    stage, task, notes = pretrain_stage(run, pool)
    for note in notes:
        run.log(note)

    def work(files: str) -> Trained:
        return train(WorkerPlan(task, run.store, pool, stage.folder, files), run.config.workers, notes, run.log)

    trained = stage.run(work, run.log)
    if not run.config.pretrain.keep_checkpoint:
        # With optimizer and queue it is three quarters of a run. Only what another run took over has none here.
        drop_checkpoint(run.store, stage.folder)
    return trained


def pretrain_stage(run: Run, pool: PoolManifest) -> tuple[Stage[Trained], PretrainTask, list[str]]:
    """The stage, the task fitted to the pool, and what was chosen down."""
    config = run.config
    settings, notes = fit_to_pool(config.pretrain, pool.size, config.workers)
    image_bytes = pool.height * pool.width * pool.channels
    window = max(int(settings.shuffle_gib * 2**30) // image_bytes, settings.batch_size)
    task = PretrainTask(settings, pool.size, pool.channels, config.seed, window)
    remedy = f"keep the setting, or start a new run with --run NEW{store_flag(config)}"
    return stage_of(run, Trained, {"pool": pool.fingerprint}, remedy), task, notes


def check_workers(run: Run) -> None:
    """Raise InputError for more workers than can ever start: Ray Train would wait for them without a word.

    One worker's share of the CPUs is left for the processes that read for them, which would not start either.
    """
    have, there = gpus(), cpus()
    most = max(1, int(there / WORKER_CPUS) - 1)
    if have:
        # How many CPUs come with GPUs that are still to start, nobody knows.
        most = min(have, most) if gpus_now() >= have else have
    if run.config.workers > most:
        what = f"{have} GPUs and {there:.0f} CPUs" if have else f"{there:.0f} CPUs and no GPU"
        raise InputError(f"{run.config.workers} workers cannot train on {what}; use --workers {most} or fewer.")
