"""The training loop: the same under a test, gloo and Ray Train, and the same result on any number of workers.

A step, on each worker (B = global batch, S = batch-norm splits, workers divide the splits):
    keys of its part of the *shuffled* batch   view 2, momentum encoder
    all keys gathered and unshuffled           negatives for the queue, positives for the loss
    queries of its part of the batch           view 1, query encoder, forward and backward
    all queries gathered                       confidence over the global batch
A view follows from (seed, epoch, repeat, id, view), so shuffling sends no images. A query's negatives are the
queue, not its batch, so a worker's rows can go forward and backward in parts: as many splits at once as
``_PIXELS_AT_ONCE`` allows, which bounds the memory of large images.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pipeline import device as devices
from pipeline import dist
from pipeline.artifacts import Int64
from pipeline.checkpoint import Checkpoint
from pipeline.context import Context
from pipeline.data.keyed import sample_keys
from pipeline.data.sampler import Step
from pipeline.data.views import make_views, recipe_for
from pipeline.moco.confidence import ConfidenceAccumulator
from pipeline.moco.model import MoCo, batch_norms
from pipeline.moco.objective import instance_probability, moco_logits, moco_loss
from pipeline.moco.task import PretrainTask
from pipeline.progress import Progress

_PIXELS_AT_ONCE = 1 << 22
"""5,350 images of 28 x 28, 83 of 224 x 224: some gigabytes of activations. More rows at once are faster."""


class Pixels(Protocol):
    """Where a worker gets its images from: memory or a stream."""

    def fetch(self, ids: Int64) -> Tensor:
        """(n, C, H, W) uint8 on the device, in the order of ids (n,)."""


def pretrain(task: PretrainTask, pixels: Pixels, context: Context) -> Checkpoint:
    """Train from the last checkpoint, or from the start, to the end; report every epoch.

    Returns:
        The final state, the same on every worker.
    """
    training = Pretraining(task, context.device)
    context.say(f"pretrain on {dist.world_size()} worker(s), {context.device}, {training.precision_reason}")
    checkpoint = context.restore()
    if checkpoint is not None:
        training.restore(checkpoint)
        context.say(f"pretrain resumes after epoch {training.epochs_done} of {task.config.epochs}")
    steps = task.sampler.steps
    progress = Progress("pretrain", task.config.epochs * steps, context.say, training.epochs_done * steps)
    for epoch in range(training.epochs_done, task.config.epochs):
        metrics = training.run_epoch(epoch, pixels, progress)
        last = epoch + 1 == task.config.epochs
        due = last or (epoch + 1) % task.config.checkpoint_every == 0
        context.report(metrics, training.checkpoint() if due else None)
    return training.checkpoint()


def local_rows(batch_size: int, splits: int) -> list[int]:
    """Rows of the global batch that each worker holds: whole splits, as even as they go."""
    world, rows = dist.world_size(), batch_size // splits
    edges = [splits * worker // world for worker in range(world + 1)]
    return [rows * (end - start) for start, end in itertools.pairwise(edges)]


def local_slice(batch_size: int, splits: int) -> slice:
    """This worker's rows of every global batch."""
    rows = local_rows(batch_size, splits)
    start = sum(rows[: dist.rank()])
    return slice(start, start + rows[dist.rank()])


class Pretraining:
    """The state of a training: model, optimizer, confidence sums, history."""

    def __init__(self, task: PretrainTask, device: torch.device) -> None:
        config = task.config
        self.task, self.device = task, device
        self.sampler = task.sampler
        self.recipe = recipe_for(config.recipe, task.channels, config.blur)
        self.dtype, self.precision_reason = devices.choose_precision(config.precision, device)
        self.model = MoCo(
            config.arch,
            config.projection_dim,
            config.queue_size,
            config.encoder_momentum,
            task.seed,
            split_rows=config.batch_size // config.bn_splits,
        ).to(device)
        self.query_encoder = dist.data_parallel(self.model.query_encoder)
        self.confidence = ConfidenceAccumulator(task.size, config.confidence_temperatures, config.repeats).to(device)
        self.optimizer = torch.optim.SGD(
            self.model.query_encoder.parameters(),
            lr=config.learning_rate,
            momentum=config.sgd_momentum,
            weight_decay=config.weight_decay,
            fused=True,  # one pass over the weights instead of four
        )
        self.rows = local_rows(config.batch_size, config.bn_splits)
        self.mine = local_slice(config.batch_size, config.bn_splits)
        self.history: list[dict[str, Any]] = []

    @property
    def epochs_done(self) -> int:
        """Whole epochs behind us."""
        return len(self.history)

    def run_epoch(self, epoch: int, pixels: Pixels, progress: Progress) -> dict[str, Any]:
        """One pass over the epoch's batches; returns and remembers its metrics."""
        began = time.perf_counter()
        self.model.train()
        for layer in batch_norms(self.model):
            layer.begin_epoch()
        totals = torch.zeros(2, device=self.device)
        for step in self.sampler.epoch(epoch):
            totals += self.step(step, epoch, pixels)
            progress.advance(f", epoch {epoch + 1}/{self.task.config.epochs}")
        self._merge_batch_norms()
        self.confidence.end_epoch()
        draws = self.sampler.steps * self.task.config.batch_size
        loss, correct = (dist.all_reduce_sum(totals) / draws).tolist()
        seconds = time.perf_counter() - began
        metrics = {
            "epoch": epoch + 1,
            "loss": loss,
            "accuracy": correct,
            "learning_rate": self.learning_rate(epoch + 1, 0),
            "seconds": round(seconds, 3),
            "pairs_per_second": round(draws / seconds, 1),
        }
        self.history.append(metrics)
        return metrics

    def step(self, step: Step, epoch: int, pixels: Pixels) -> Tensor:
        """One optimizer step; returns this worker's (summed loss, queries told apart), (2,), without waiting for it."""
        config, mine = self.task.config, self.mine
        key = self._keys(step, epoch, pixels)
        self.optimizer.zero_grad(set_to_none=True)
        totals, queries = torch.zeros(2, device=self.device), []
        own_keys = key[mine]
        for part, view in self._views(step, np.arange(config.batch_size)[mine], epoch, pixels, view=0):
            with dist.gradients_shared(self.query_encoder, part.stop == len(own_keys)):
                with devices.autocast(self.device, self.dtype):
                    query = self.query_encoder(view)
                logits = moco_logits(query, own_keys[part], self.model.queue, config.loss_temperature)
                loss = moco_loss(logits)
                (loss * (dist.world_size() / config.batch_size)).backward()
            queries.append(query.detach())
            totals += torch.stack([loss.detach(), (logits.argmax(1) == 0).sum().to(loss.dtype)])
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(epoch, step.index)
        self.optimizer.step()
        self.model.enqueue(key, epoch * self.sampler.steps + step.index)
        query, ids = dist.gather_rows(torch.cat(queries), self.rows), self._to_device(step.ids)
        self.confidence.add(ids[mine], instance_probability(query, key, ids, mine, config.confidence_temperatures))
        return totals

    @torch.no_grad()
    def _keys(self, step: Step, epoch: int, pixels: Pixels) -> Tensor:
        """(B, D) keys of the global batch in its own order, after the momentum encoder's update."""
        self.model.update_key_encoder()
        shuffled = []
        for _, view in self._views(step, step.shuffle[self.mine], epoch, pixels, view=1):
            with devices.autocast(self.device, self.dtype):
                shuffled.append(self.model.key_encoder(view))
        return dist.gather_rows(torch.cat(shuffled), self.rows)[self._to_device(np.argsort(step.shuffle))]

    def learning_rate(self, epoch: int, step: int) -> float:
        """Scaled with the batch; linear warm-up, then a half cosine to 0 (Table 2)."""
        config = self.task.config
        done = epoch + step / self.sampler.steps
        peak = config.learning_rate * config.batch_size / 256
        if done < config.warmup_epochs:
            return peak * (done + 1 / self.sampler.steps) / config.warmup_epochs
        share = (done - config.warmup_epochs) / max(config.epochs - config.warmup_epochs, 1)
        return peak * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))

    def checkpoint(self) -> Checkpoint:
        """Weights, queue, optimizer and sums, at the end of an epoch."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"confidence.{name}": tensor for name, tensor in self.confidence.state_dict().items()}
        momenta = self.optimizer.state_dict()["state"]
        tensors |= {f"momentum.{index}": state["momentum_buffer"] for index, state in momenta.items()}
        return Checkpoint(tensors, {"history": list(self.history), "arch": self.task.config.arch})

    def restore(self, checkpoint: Checkpoint) -> None:
        """The inverse of ``checkpoint``; the number of workers may have changed."""
        self.model.load_state_dict(checkpoint.part("model"))
        self.confidence.load_state_dict(checkpoint.part("confidence"))
        weights = list(self.model.query_encoder.parameters())
        state = {}
        for index, value in checkpoint.part("momentum").items():
            # As it lies beside its weight: the optimizer goes over both in one pass. And a copy, to work in.
            momentum = torch.empty_like(weights[int(index)], requires_grad=False).copy_(value)
            state[int(index)] = {"momentum_buffer": momentum}
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.history = list(checkpoint.facts["history"])

    def _views(self, step: Step, rows: Int64, epoch: int, pixels: Pixels, view: int) -> Iterator[tuple[slice, Tensor]]:
        """One view of these rows of the global batch, in parts of whole splits: (part of ``rows``, its views)."""
        images = pixels.fetch(step.ids[rows])
        ids, repeat = self._to_device(step.ids[rows]), self._to_device(step.repeat[rows])
        keys = sample_keys(self.task.seed, epoch, repeat, ids, view)
        split = self.task.config.batch_size // self.task.config.bn_splits
        size = split * max(1, _PIXELS_AT_ONCE // (split * images.shape[-2] * images.shape[-1]))
        for start in range(0, len(rows), size):
            part = slice(start, min(start + size, len(rows)))
            yield part, make_views(images[part], keys[part], self.recipe)

    def _merge_batch_norms(self) -> None:
        """Means of split statistics become means over all workers' splits."""
        for layer in batch_norms(self.model):
            assert layer.num_batches_tracked is not None
            splits = layer.num_batches_tracked.to(torch.float64)
            total = dist.all_reduce_sum(splits.clone())
            for statistic in (layer.running_mean, layer.running_var):
                assert statistic is not None
                statistic.copy_(dist.all_reduce_sum(statistic.double() * splits) / total)
            layer.num_batches_tracked.copy_(total)

    def _to_device(self, array: Int64) -> Tensor:
        return devices.send(torch.from_numpy(np.ascontiguousarray(array)), self.device)
