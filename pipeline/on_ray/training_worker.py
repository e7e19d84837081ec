"""pool -> weights and confidence, with Ray Train: what a worker does."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import ray.train
import ray.train.torch
import torch
from safetensors.torch import save

from pipeline import device as devices
from pipeline import dist, progress
from pipeline.artifacts import CONFIDENCE_SCHEMA, fingerprint
from pipeline.checkpoint import Checkpoint, CheckpointWriter
from pipeline.data.pool import PoolReader
from pipeline.machine import cores
from pipeline.moco.confidence import ConfidenceAccumulator
from pipeline.moco.fast.worker_threads import PIXELS_AT_ONCE
from pipeline.moco.model import encoder_weights
from pipeline.moco.resident import ResidentPixels
from pipeline.moco.task import WorkerPlan
from pipeline.moco.train import Pixels, pretrain
from pipeline.on_ray.session import quieten
from pipeline.on_ray.stream import WINDOWS_HELD, StreamedPixels
from pipeline.progress import counted
from pipeline.results import CHECKPOINT, CONFIDENCE, HISTORY, KEPT, WEIGHTS


def train(plan: WorkerPlan, say: Callable[[str], None] | None = None) -> None:
    """Train from the last checkpoint to the end. The first worker writes the files for later stages.

    Args:
        say: of the driver, where this is its process; else Ray carries what is printed to it.
    """
    quieten()
    if not torch.cuda.is_available():
        share = max(1, cores() // ray.train.get_context().get_local_world_size())
        torch.set_num_threads(1 if plan.deterministic else share)
    context = _StoreContext(plan, say or progress.say)
    with _pixels(plan, context) as pixels:
        final = pretrain(plan.task, pixels, context)
    context.finish()
    if dist.rank() == 0:
        _keep(final, plan)


class _StoreContext:
    """The training loop's environment: the device from Ray Train, and one checkpoint on the store.

    The checkpoint is ours. Ray Train keeps none if the loop runs in the driver. So a run resumes from it with any
    number of workers.
    """

    def __init__(self, plan: WorkerPlan, say: Callable[[str], None]) -> None:
        self.device = ray.train.torch.get_device()
        self._store, self._file = plan.store, f"{plan.folder}/{CHECKPOINT}"
        self._writer = CheckpointWriter(lambda: self._store.writing(self._file))
        self._looked_at: Checkpoint | None = None
        self._say = say

    def epochs_done(self) -> int:
        """Of the checkpoint that ``restore`` will give, though another job may put a later one in its place."""
        self._looked_at = self._last()
        return 0 if self._looked_at is None else len(self._looked_at.facts["history"])

    def restore(self) -> Checkpoint | None:
        """The last checkpoint on the store, or the one that was looked at before, which is not held any longer."""
        checkpoint, self._looked_at = self._looked_at, None
        return checkpoint or self._last()

    def _last(self) -> Checkpoint | None:
        if not self._store.exists(self._file):
            return None
        with self._store.reading(self._file) as path:
            return Checkpoint.load(path)

    def report(self, metrics: Mapping[str, Any], checkpoint: Checkpoint | None) -> None:
        """Replace the last checkpoint with the first worker's, and pass the metrics to Ray Train."""
        if checkpoint is not None and dist.rank() == 0:
            self._writer.write(checkpoint)
        ray.train.report(dict(metrics))
        loss, speed = metrics["loss"], metrics["pairs_per_second"]
        self.say(f"pretrain epoch {metrics['epoch']}: loss {loss:.3f}, {speed:.0f} pairs/s")

    def finish(self) -> None:
        """Wait until the last checkpoint is written."""
        self._writer.finish()

    def say(self, text: str) -> None:
        """Log a line; only the first worker does."""
        if dist.rank() == 0:
            self._say(text)


@contextlib.contextmanager
def _pixels(plan: WorkerPlan, context: _StoreContext) -> Iterator[Pixels]:
    """Keep the pool on the device if it fits in every worker's memory; else stream it."""
    manifest, task = plan.manifest, plan.task
    shape = (manifest.size, manifest.height, manifest.width, manifest.channels)
    need = math.prod(shape)
    limit = task.config.pool_memory_gib
    # The workers of a machine share its memory; a GPU is one worker's own.
    sharing = 1 if context.device.type == "cuda" else ray.train.get_context().get_local_world_size()
    room = devices.free_bytes(context.device) / 2 / sharing if limit is None else limit * 2**30
    split = task.config.batch_size // task.config.bn_splits
    if split * manifest.height * manifest.width > PIXELS_AT_ONCE:
        context.say(
            f"a part of the batch that is normalised together is {counted(split, 'image')} of {manifest.height} x "
            f"{manifest.width}; where memory runs out, lower pretrain.batch_size or raise pretrain.bn_splits"
        )
    facts = f"{need / 2**20:,.1f} MiB of images, {room / 2**20:,.1f} MiB of room on {context.device}"
    held = WINDOWS_HELD * min(need, task.window * math.prod(shape[1:])) // dist.world_size()
    # On a CPU a pool of few windows would take as much memory, or more, as a stream.
    saves = limit is not None or context.device.type == "cuda" or held < need
    # All workers alike: one that keeps the pool sends no images, and one that streams it would wait for them.
    if dist.everywhere(need <= room or not saves, context.device):
        context.say(f"pool kept in memory: {facts}{'' if need <= room else '; to stream it would take as much'}")
        yield ResidentPixels.of_parts(PoolReader(plan.store, manifest).row_groups(), shape, context.device)
        return
    context.say(
        f"pool streamed: {facts}{', but not everywhere' if need <= room else ''}; a worker holds windows of up to "
        f"{held / 2**20:,.1f} MiB; where memory runs out, lower pretrain.shuffle_gib"
    )
    stream = StreamedPixels(
        plan.store, manifest, task.sampler, context.epochs_done(), task.config.epochs, context.device
    )
    with contextlib.closing(stream):
        yield stream


def _keep(final: Checkpoint, plan: WorkerPlan) -> None:
    """Write the files for later stages: the encoder, the confidence table, the history."""
    store, files, task = plan.store, plan.files, plan.task
    encoder = encoder_weights(final)
    weights = save({name: tensor.cpu().contiguous() for name, tensor in encoder.items()})
    with torch.device("meta"):  # no second set of sums: the checkpoint's own are taken as they are
        confidence = ConfidenceAccumulator(task.size, task.config.confidence_temperatures, task.config.repeats)
    confidence.load_state_dict(final.part("confidence"), assign=True)
    store.write_bytes(f"{files}/{WEIGHTS}", weights)
    store.write_tables(f"{files}/{CONFIDENCE}", CONFIDENCE_SCHEMA, confidence.tables())
    store.write_json(f"{files}/{HISTORY}", final.facts["history"])
    store.write_json(f"{files}/{KEPT}", {"weights": fingerprint(weights), "dimensions": len(encoder["fc.0.bias"])})
