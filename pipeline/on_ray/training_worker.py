"""pool -> weights and confidence, with Ray Train: what a worker does."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
from safetensors.torch import save

from pipeline import device as devices
from pipeline import dist
from pipeline.artifacts import fingerprint
from pipeline.checkpoint import FILE_NAME, Checkpoint
from pipeline.data.pool import PoolReader
from pipeline.machine import cores
from pipeline.moco.confidence import ConfidenceAccumulator
from pipeline.moco.model import encoder_weights
from pipeline.moco.resident import ResidentPixels
from pipeline.moco.train import Pixels, local_slice, pretrain
from pipeline.on_ray.plan import CONFIDENCE, HISTORY, KEPT, WEIGHTS, WorkerPlan
from pipeline.on_ray.stream import StreamedPixels


def train(plan: WorkerPlan) -> None:
    """Train from the last checkpoint to the end; the first worker writes what later stages read."""
    if not torch.cuda.is_available():
        torch.set_num_threads(max(1, cores() // ray.train.get_context().get_local_world_size()))
    context = _RayContext()
    final = pretrain(plan.task, _pixels(plan, context), context)
    if dist.rank() == 0:
        _keep(final, plan)


class _RayContext:
    """The training loop's surroundings under Ray Train."""

    def __init__(self) -> None:
        self.device = ray.train.torch.get_device()

    def restore(self) -> Checkpoint | None:
        """The last checkpoint that Ray Train kept."""
        kept = ray.train.get_checkpoint()
        if kept is None:
            return None
        with kept.as_directory() as folder:
            return Checkpoint.load(Path(folder) / FILE_NAME)

    def report(self, metrics: Mapping[str, Any], checkpoint: Checkpoint | None) -> None:
        """Report to Ray Train; the first worker's checkpoint goes to the store."""
        with tempfile.TemporaryDirectory() as folder:
            kept = None
            if checkpoint is not None and dist.rank() == 0:
                checkpoint.save(Path(folder) / FILE_NAME)
                kept = ray.train.Checkpoint.from_directory(folder)
            ray.train.report(dict(metrics), checkpoint=kept)
        loss, speed = metrics["loss"], metrics["pairs_per_second"]
        self.say(f"pretrain epoch {metrics['epoch']}: loss {loss:.3f}, {speed:.0f} pairs/s")

    def say(self, text: str) -> None:
        """The first worker speaks; Ray carries its output to the driver."""
        if dist.rank() == 0:
            # Not print: Ray Train sends that through its logger as well, and it would be said twice.
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()


def _pixels(plan: WorkerPlan, context: _RayContext) -> Pixels:
    """Fits in memory: keep it on the device. Does not fit: stream it."""
    manifest, task = plan.manifest, plan.task
    need = manifest.size * manifest.height * manifest.width * manifest.channels
    limit = task.config.pool_memory_gib
    room = devices.free_bytes(context.device) / 2 if limit is None else limit * 2**30
    facts = f"{need / 2**20:,.1f} MiB of images, {room / 2**20:,.1f} MiB of room on {context.device}"
    if need <= room:
        context.say(f"pool kept in memory: {facts}")
        return ResidentPixels(PoolReader(plan.store, manifest).all_images(), context.device)
    context.say(f"pool streamed: {facts}")
    checkpoint = context.restore()
    done = 0 if checkpoint is None else len(checkpoint.facts["history"])
    mine = local_slice(task.config.batch_size, task.config.bn_splits)
    return StreamedPixels(plan.store, manifest, task.sampler, mine, done, task.config.epochs, context.device)


def _keep(final: Checkpoint, plan: WorkerPlan) -> None:
    """Write what later stages read: the encoder, the confidence table, the history."""
    store, folder, task = plan.store, plan.folder, plan.task
    encoder = encoder_weights(final)
    weights = save({name: tensor.cpu().contiguous() for name, tensor in encoder.items()})
    confidence = ConfidenceAccumulator(task.size, task.config.confidence_temperatures)
    confidence.load_state_dict(final.part("confidence"))
    store.write_bytes(f"{folder}/{WEIGHTS}", weights)
    store.write_table(f"{folder}/{CONFIDENCE}", confidence.table())
    store.write_json(f"{folder}/{HISTORY}", final.facts["history"])
    store.write_json(f"{folder}/{KEPT}", {"weights": fingerprint(weights), "dimensions": len(encoder["fc.0.bias"])})
