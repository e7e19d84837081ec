"""The training loop: the same under a test, gloo and Ray Train, and the same result on any number of workers.

``moco.step`` is the same step in one process: read that first. Here, on each worker (B = global batch, S = batch-norm
splits, workers divide the splits):
    images of both its parts (below)           from memory, or from the worker that read them
    keys of its part of the *shuffled* batch   view 2, momentum encoder
    all keys gathered and unshuffled           negatives for the queue, positives for the loss
    queries of its part of the batch           view 1, query encoder, forward and backward
    all queries gathered, gradients summed     weights, queue, confidence over the global batch
On a GPU each part between two messages is a CUDA graph (``moco.fast.cuda_graph``), so it works on tensors alone. A
view depends on (seed, epoch, repeat, id, view). So shuffling sends no images while the pool is in memory. A query's
negatives are the queue, not its batch. So a worker's rows can go forward and backward in parts of whole splits
(``moco.fast.worker_threads``).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from pipeline import device as devices
from pipeline import dist
from pipeline.artifacts import Int64
from pipeline.checkpoint import Checkpoint
from pipeline.context import Context
from pipeline.data.random_streams import stream_keys
from pipeline.data.sampler import Step
from pipeline.data.views import AugmentationParameters, augment, augmentation_parameters, recipe_for
from pipeline.moco.confidence import ConfidenceAccumulator
from pipeline.moco.fast.cuda_graph import CudaGraph
from pipeline.moco.fast.worker_threads import WorkerThreads
from pipeline.moco.model import MoCo
from pipeline.moco.objective import instance_probability, moco_loss
from pipeline.moco.schedule import learning_rate
from pipeline.moco.task import PretrainTask
from pipeline.progress import Progress, counted


class Pixels(Protocol):
    """Where a worker gets its images from: memory or a stream."""

    def fetch(self, step: Step, parts: Sequence[slice]) -> tuple[Tensor, Tensor]:
        """The images of this worker's part of a global batch, and of its part of the shuffled one.

        All workers ask for every batch, in order.

        Args:
            parts: each worker's rows.

        Returns:
            (n, C, H, W) uint8 on the device, twice.
        """


def pretrain(task: PretrainTask, pixels: Pixels, context: Context) -> Checkpoint:
    """Train from the last checkpoint, or from the start, to the end; report every epoch.

    Returns:
        The final state, the same on every worker.
    """
    training = Pretraining(task, context.device)
    context.say(f"pretrain on {counted(dist.world_size(), 'worker')}, {context.device}, {training.precision_reason}")
    if context.device.type == "cuda" and (reason := devices.why_not_compiled()):
        context.say(f"pretrain goes without kernels of its own, which is slower: {reason}")
    checkpoint = context.restore()
    if checkpoint is not None:
        training.restore(checkpoint)
        context.say(f"pretrain resumes after epoch {training.epochs_done} of {task.config.epochs}")
    training.agree()
    steps = task.sampler.steps
    progress = Progress("pretrain", task.config.epochs * steps, context.say, training.epochs_done * steps)
    for epoch in range(training.epochs_done, task.config.epochs):
        metrics = training.run_epoch(epoch, pixels, progress)
        last = epoch + 1 == task.config.epochs
        due = last or (epoch + 1) % task.config.checkpoint_every == 0
        context.report(metrics, training.checkpoint() if due else None)
    return training.checkpoint()


def parts_of_batch(batch_size: int, splits: int) -> list[slice]:
    """Each worker's rows of every global batch: whole splits, as even as they go."""
    world, rows = dist.world_size(), batch_size // splits
    edges = [rows * (splits * worker // world) for worker in range(world + 1)]
    return [slice(start, end) for start, end in itertools.pairwise(edges)]


class Pretraining:
    """The state of a training: model, optimizer, confidence sums, history."""

    def __init__(self, task: PretrainTask, device: torch.device) -> None:
        config = task.config
        self.task, self.device = task, device
        self.sampler = task.sampler
        self.recipe = recipe_for(config.recipe, task.channels, config.blur)
        self.dtype, self.precision_reason = devices.choose_precision(config.precision, device)
        self.parts = parts_of_batch(config.batch_size, config.bn_splits)
        self.mine = self.parts[dist.rank()]
        self.rows = [part.stop - part.start for part in self.parts]
        split_rows = config.batch_size // config.bn_splits
        self.model = MoCo(
            config.arch, config.projection_dim, config.queue_size, config.encoder_momentum, task.seed, split_rows
        ).to(device)
        self.worker_threads = WorkerThreads(self.model, split_rows, self.rows[dist.rank()], device)
        self.confidence = ConfidenceAccumulator(task.size, config.confidence_temperatures, config.repeats).to(device)
        self.weights = list(self.model.query_encoder.parameters())
        self.optimizer = torch.optim.SGD(
            [as_in_memory(weight.detach()) for weight in self.weights],
            # A tensor, as all that changes from step to step, since a step is recorded.
            lr=torch.zeros((), device=device),
            momentum=config.sgd_momentum,
            weight_decay=config.weight_decay,
            fused=True,  # one pass over the weights instead of four
        )
        for weight in self._stepped:
            self.optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
        self._encode_keys = CudaGraph(self._keys_of_views)
        self._learn = CudaGraph(self._gradients_of_views)
        self._update = CudaGraph(self._update_all)
        self.history: list[dict[str, Any]] = []

    @property
    def epochs_done(self) -> int:
        """Whole epochs behind us."""
        return len(self.history)

    def run_epoch(self, epoch: int, pixels: Pixels, progress: Progress) -> dict[str, Any]:
        """One pass over the epoch's batches; returns and remembers its metrics."""
        began = time.perf_counter()
        self.worker_threads.begin_epoch()
        totals = torch.zeros(2, device=self.device)
        for step in self.sampler.epoch(epoch):
            totals += self.step(step, epoch, pixels)
            progress.advance(f", epoch {epoch + 1}/{self.task.config.epochs}")
        self.worker_threads.end_epoch()
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
        """One optimizer step; returns this worker's (summed loss, correct queries), (2,), without waiting for it."""
        mine, shuffled = self.mine, step.shuffle[self.mine]
        ids, place_of_key = self._to_device(np.stack([step.ids, np.argsort(step.shuffle)]))
        views = [np.concatenate([each[mine], each[shuffled]]) for each in (step.ids, step.repeat)]
        views.append(np.repeat([0, 1], len(shuffled)))
        now = torch.full_like(ids[0], epoch)
        images, shuffled_images = pixels.fetch(step, self.parts)
        keys, drawn = self._encode_keys(shuffled_images, now, *self._to_device(np.stack(views)))
        keys = dist.gather_rows(keys, self.rows)[place_of_key]
        totals, queries = self._learn(images, keys[mine], *drawn)
        dist.sum_gradients(self.weights)
        queries = dist.gather_rows(queries, self.rows)
        batches_before = torch.full_like(now, epoch * self.sampler.steps + step.index)
        rate = torch.full_like(totals[0], self.learning_rate(epoch, step.index))
        self._update(queries, keys, ids, batches_before, rate)
        return totals

    def _keys_of_views(
        self, images: Tensor, epoch: Tensor, ids: Tensor, repeat: Tensor, view: Tensor
    ) -> tuple[Tensor, AugmentationParameters]:
        """(n, D) keys of this worker's part of the shuffled batch, after the momentum encoder's update.

        Args:
            ids, repeat, view: (2 n,), of the queries' views and then of the keys'.

        Returns:
            the keys; and what makes the queries' views, drawn here with that of the keys' since it takes many small
            operations however many views there are, and not in the worker threads, which share one interpreter.
        """

        def encode(model: MoCo, part: slice) -> Tensor:
            view = augment(images[part], of_keys.part(part), self.recipe)
            with torch.no_grad(), devices.autocast(self.device, self.dtype):
                return model.key_encoder(view)

        drawn = augmentation_parameters(
            stream_keys(self.task.seed, epoch, repeat, ids, view), tuple(images.shape[1:]), self.recipe
        )
        of_queries, of_keys = (drawn.part(part) for part in (slice(len(images)), slice(len(images), None)))
        self.model.update_key_encoder()
        return torch.cat(self.worker_threads.each(encode, images)), of_queries

    def _gradients_of_views(self, images: Tensor, keys: Tensor, *drawn: Tensor) -> tuple[Tensor, Tensor]:
        """This worker's share of the gradients, left at the weights; returns its totals (2,) and queries (n, D)."""
        config, of_queries = self.task.config, AugmentationParameters(*drawn)

        def learn(model: MoCo, part: slice) -> tuple[Tensor, Tensor]:
            view = augment(images[part], of_queries.part(part), self.recipe)
            with devices.autocast(self.device, self.dtype):
                query = model.query_encoder(view)
            loss, correct = moco_loss(query, keys[part], model.queue, config.loss_temperature)
            (loss / config.batch_size).backward()
            return torch.stack([loss.detach(), correct.to(loss.dtype)]), query.detach()

        totals, queries = zip(*self.worker_threads.backward(learn, images), strict=True)
        return torch.stack(totals).sum(0), torch.cat(queries)

    def _update_all(self, queries: Tensor, keys: Tensor, ids: Tensor, batches_before: Tensor, rate: Tensor) -> None:
        """Weights, queue and confidence, from the gradients and the (B, D) queries and keys of the global batch."""
        for group in self.optimizer.param_groups:
            group["lr"].copy_(rate)
        for stepped, weight in zip(self._stepped, self.weights, strict=True):
            assert weight.grad is not None
            stepped.grad = as_in_memory(weight.grad)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)  # else the memory would be held through the next backward pass
        self.model.enqueue(keys, batches_before)
        probability = instance_probability(queries, keys, ids, self.mine, self.task.config.confidence_temperatures)
        self.confidence.add(ids[self.mine], probability)

    def learning_rate(self, epoch: int, step: int) -> float:
        """Of a step of an epoch."""
        return learning_rate(self.task.config, epoch, step, self.sampler.steps)

    def checkpoint(self) -> Checkpoint:
        """Weights, queue, optimizer and sums, at the end of an epoch."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"confidence.{name}": tensor for name, tensor in self.confidence.state_dict().items()}
        tensors |= {f"momentum.{index}": momentum for index, momentum in enumerate(self._momenta())}
        return Checkpoint(tensors, {"history": list(self.history), "arch": self.task.config.arch})

    def restore(self, checkpoint: Checkpoint) -> None:
        """The inverse of ``checkpoint``; the number of workers may have changed."""
        self.model.load_state_dict(checkpoint.part("model"))
        self.confidence.load_state_dict(checkpoint.part("confidence"))
        momenta = list(self._momenta())
        for index, value in checkpoint.part("momentum").items():
            momenta[int(index)].copy_(value)
        self.history = list(checkpoint.facts["history"])

    def agree(self) -> None:
        """Make sure that all workers start from the same state: what follows trusts in it, and could only go wrong.

        Raises:
            RuntimeError: they resumed after different epochs.
        """
        done = torch.tensor(self.epochs_done, device=self.device)
        if dist.all_reduce_sum(done) != self.epochs_done * dist.world_size():
            raise RuntimeError(f"this worker resumed after epoch {self.epochs_done}, and others after another")
        # Another kind of processor may draw the first weights a last digit apart.
        dist.copy_from_first(self.model.state_dict().values())

    @property
    def _stepped(self) -> list[Tensor]:
        """The weights as the optimizer has them."""
        stepped: list[Tensor] = self.optimizer.param_groups[0]["params"]
        return stepped

    def _momenta(self) -> Iterator[Tensor]:
        """In the order and shape of the weights."""
        for stepped, weight in zip(self._stepped, self.weights, strict=True):
            momentum: Tensor = self.optimizer.state[stepped]["momentum_buffer"]
            yield momentum.permute(0, 3, 1, 2) if weight.dim() == 4 else momentum

    def _to_device(self, array: Int64) -> Tensor:
        return devices.send(torch.from_numpy(np.ascontiguousarray(array)), self.device)


def as_in_memory(weight: Tensor) -> Tensor:
    """A view with the axes of a convolution's weight as they lie in memory: fused SGD on a CPU would first copy it."""
    return weight.permute(0, 2, 3, 1) if weight.dim() == 4 else weight
