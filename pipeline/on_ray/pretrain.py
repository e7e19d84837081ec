"""pool -> weights and confidence, with Ray Train.

Ray Train starts the workers, keeps the last checkpoint on the store, restarts after a failure and
resumes when the same run is started again; the loop itself is ``pipeline.moco.train``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
from safetensors.torch import save

from pipeline import device as devices
from pipeline import dist
from pipeline.artifacts import PoolManifest, fingerprint
from pipeline.checkpoint import FILE_NAME, Checkpoint
from pipeline.config import RunConfig, to_dict
from pipeline.data.pool import PoolReader
from pipeline.machine import cores
from pipeline.moco.confidence import ConfidenceAccumulator
from pipeline.moco.fit import fit_to_pool
from pipeline.moco.resident import ResidentPixels
from pipeline.moco.train import Pixels, PretrainTask, encoder_weights, local_slice, pretrain
from pipeline.on_ray.session import gpus
from pipeline.on_ray.stream import StreamedPixels
from pipeline.stages import Stage, run_folder
from pipeline.storage import Location

WEIGHTS, CONFIDENCE, HISTORY = "weights.safetensors", "confidence.parquet", "history.json"
_NOT_DECISIVE = ("checkpoint_every", "pool_memory_gib")
"""Settings that do not change the result, like the number of workers."""
_FAILURES = 3


@dataclass(frozen=True)
class WorkerPlan:
    """What every training worker is given."""

    task: PretrainTask
    store: Location
    manifest: PoolManifest


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
        f"keep the setting, or start a new run with --run (now '{config.run}').",
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
    plan = WorkerPlan(task, store, pool)
    return stage.run(lambda: {**_train(plan, stage.folder, config.workers), "notes": notes}, say)


def _train(plan: WorkerPlan, folder: str, workers: int) -> dict[str, Any]:
    store = plan.store
    store.make_folder(folder)
    parent, _, name = folder.rpartition("/")
    trainer = ray.train.torch.TorchTrainer(
        _worker,
        train_loop_config={"plan": plan},
        scaling_config=ray.train.ScalingConfig(
            # Half a logical CPU: a worker sets its own threads, and reading must always find a slot.
            num_workers=workers,
            use_gpu=gpus() > 0,
            resources_per_worker={"CPU": 0.5, "GPU": 1} if gpus() else {"CPU": 0.5},
        ),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=store.path(parent),
            storage_filesystem=store.filesystem,
            failure_config=ray.train.FailureConfig(max_failures=_FAILURES),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            logging_config=ray.train.LoggingConfig(log_level="WARNING"),
        ),
    )
    result = trainer.fit()
    assert result.checkpoint is not None
    return _keep(_load(result.checkpoint), plan.task, store, folder)


def _keep(checkpoint: Checkpoint, task: PretrainTask, store: Location, folder: str) -> dict[str, Any]:
    """Write what later stages read: the encoder, the confidence table, the history."""
    weights = save({name: tensor.contiguous() for name, tensor in encoder_weights(checkpoint).items()})
    confidence = ConfidenceAccumulator(task.size, task.config.confidence_temperatures)
    confidence.load_state_dict(checkpoint.part("confidence"))
    history = checkpoint.facts["history"]
    store.write_bytes(f"{folder}/{WEIGHTS}", weights)
    store.write_table(f"{folder}/{CONFIDENCE}", confidence.table())
    store.write_json(f"{folder}/{HISTORY}", history)
    return {
        "arch": task.config.arch,
        "weights": fingerprint(weights),
        "loss": history[-1]["loss"],
        "fitted": {**asdict(task.config), "window": task.window},
    }


# ---- on a worker --------------------------------------------------------------------------


class _RayContext:
    """The training loop's surroundings under Ray Train."""

    def __init__(self) -> None:
        self.device = ray.train.torch.get_device()

    def restore(self) -> Checkpoint | None:
        """The last checkpoint that Ray Train kept."""
        kept = ray.train.get_checkpoint()
        return None if kept is None else _load(kept)

    def report(self, metrics: Mapping[str, Any], checkpoint: Checkpoint | None) -> None:
        """Report to Ray Train; the first worker's checkpoint goes to the store."""
        with tempfile.TemporaryDirectory() as folder:
            kept = None
            if checkpoint is not None and dist.rank() == 0:
                checkpoint.save(Path(folder) / FILE_NAME)
                kept = ray.train.Checkpoint.from_directory(folder)
            ray.train.report(dict(metrics), checkpoint=kept)
        self.say(
            f"pretrain epoch {metrics['epoch']}: loss {metrics['loss']:.3f}, {metrics['pairs_per_second']:.0f} pairs/s"
        )

    def say(self, text: str) -> None:
        """The first worker speaks; Ray carries its output to the driver."""
        if dist.rank() == 0:
            # Not print: Ray Train sends that through its logger as well, and it would be said twice.
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()


def _worker(settings: dict[str, Any]) -> None:
    plan: WorkerPlan = settings["plan"]
    if torch.cuda.is_available():
        torch.backends.cuda.matmul.allow_tf32 = True
    else:
        torch.set_num_threads(max(1, cores() // ray.train.get_context().get_local_world_size()))
    context = _RayContext()
    pretrain(plan.task, _pixels(plan, context), context)


def _pixels(plan: WorkerPlan, context: _RayContext) -> Pixels:
    """Fits in memory: keep it on the device. Does not fit: stream it."""
    manifest, task = plan.manifest, plan.task
    need = manifest.size * manifest.height * manifest.width * manifest.channels
    limit = task.config.pool_memory_gib
    room = devices.free_bytes(context.device) / 2 if limit is None else limit * 2**30
    facts = f"{need / 2**20:,.0f} MiB of images, {room / 2**20:,.0f} MiB of room on {context.device}"
    if need <= room:
        context.say(f"pool kept in memory: {facts}")
        return ResidentPixels(PoolReader(plan.store, manifest).all_images(), context.device)
    context.say(f"pool streamed: {facts}")
    checkpoint = context.restore()
    done = 0 if checkpoint is None else len(checkpoint.facts["history"])
    mine = local_slice(task.config.batch_size, task.config.bn_splits)
    return StreamedPixels(plan.store, manifest, task.sampler, mine, done, task.config.epochs, context.device)


def _load(kept: ray.train.Checkpoint) -> Checkpoint:
    with kept.as_directory() as folder:
        return Checkpoint.load(Path(folder) / FILE_NAME)
