"""Row 1: the training loop as shipped over the bare step.

The loop is ``Pretraining.run_epoch`` of preset ``small`` on a resident pool of real images: order, views,
both encoders, loss, queue, confidence at four temperatures, optimizer, the epoch's end. The bare step is what no
implementation of MoCo can leave out: both encoders forward (the key encoder without gradient), backward, SGD with
momentum; same model, dtype, layout and batch, on views made beforehand. It runs with the whole batch at once
(ordinary batch norm), in the loop's batch-norm splits one after the other, and on the loop's own worker threads; what
counts is the fastest of the three.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pipeline import device as devices
from pipeline.artifacts import Uint8
from pipeline.config import PretrainConfig
from pipeline.data.random_streams import stream_keys
from pipeline.data.views import RGB, make_views
from pipeline.machine import cores
from pipeline.moco import train as loop
from pipeline.moco.fast.weight_gradients import WeightGradients
from pipeline.moco.fast.worker_threads import WorkerThreads
from pipeline.moco.model import MoCo
from pipeline.moco.resident import ResidentPixels
from pipeline.moco.task import PretrainTask
from pipeline.progress import Progress
from speed.measure import Row, alternate, ratio, speed, stopwatch
from speed.pool import BATCH, images, small_task

GOAL = 0.90


class ResidentTraining:
    """The loop as shipped, one epoch a call."""

    def __init__(self, pictures: Uint8, task: PretrainTask, device: torch.device) -> None:
        self.pixels = ResidentPixels.of_array(pictures, device)
        self.training = loop.Pretraining(task, device)
        self.pairs = self.training.sampler.steps * task.config.batch_size

    def __call__(self) -> None:
        epoch = self.training.epochs_done % self.training.task.config.epochs
        self.training.run_epoch(epoch, self.pixels, Progress("", 1, lambda text: None))


class BareStep:
    """``steps`` bare steps a call, the batch in ``splits`` equal parts; the key encoder stays as it is."""

    def __init__(self, views: tuple[Tensor, Tensor], steps: int, splits: int, config: PretrainConfig) -> None:
        self.steps, self.device = steps, views[0].device
        self.parts = list(zip(*(view.chunk(splits) for view in views), strict=True))
        self.model = self._build(config).to(self.device)
        self.dtype, _ = devices.choose_precision(config.precision, self.device)
        self.weights: list[Tensor] = list(self.model.query_encoder.parameters())
        self.stepped = self.weights
        if self.device.type == "cpu":  # as the loop has it, since it is faster there
            self.stepped = [loop.as_in_memory(weight.detach()) for weight in self.weights]
        self.optimizer = torch.optim.SGD(
            self.stepped,
            lr=1e-3,
            momentum=config.sgd_momentum,
            weight_decay=config.weight_decay,
            fused=True,
        )

    def _build(self, config: PretrainConfig, **more: int) -> MoCo:
        return MoCo(config.arch, config.projection_dim, config.queue_size, config.encoder_momentum, seed=0, **more)

    def gradients(self) -> None:
        """Forward and backward; leaves them at the weights."""
        self.model.query_encoder.zero_grad(set_to_none=True)
        for first, second in self.parts:
            with devices.autocast(self.device, self.dtype):
                with torch.no_grad():
                    key = self.model.key_encoder(second)
                query = self.model.query_encoder(first)
            # The least that has a gradient for every weight.
            (-(query * key).mean()).backward()

    def __call__(self) -> None:
        for _ in range(self.steps):
            self.gradients()
            if self.stepped is not self.weights:
                for stepped, weight in zip(self.stepped, self.weights, strict=True):
                    assert weight.grad is not None
                    stepped.grad = loop.as_in_memory(weight.grad)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)


class BareOnWorkerThreads(BareStep):
    """The same, as the loop goes about its splits: side by side, with the gradients of large weights left for last."""

    def __init__(self, views: tuple[Tensor, Tensor], steps: int, splits: int, config: PretrainConfig) -> None:
        self.views, self.split_rows = views, len(views[0]) // splits
        super().__init__(views, steps, splits, config)
        self.worker_threads = WorkerThreads(self.model, self.split_rows, len(views[0]), self.device)

    def _build(self, config: PretrainConfig, **more: int) -> MoCo:
        return super()._build(config, split_rows=self.split_rows)

    def gradients(self) -> None:
        first, second = self.views

        def encode(model: MoCo, part: slice) -> Tensor:
            with torch.no_grad(), devices.autocast(self.device, self.dtype):
                return model.key_encoder(second[part])

        def learn(model: MoCo, part: slice) -> None:
            with devices.autocast(self.device, self.dtype):
                query = model.query_encoder(first[part])
            (-(query * keys[part]).mean()).backward()

        keys = torch.cat(self.worker_threads.each(encode, second))
        self.worker_threads.backward(learn, first)

    def __call__(self) -> None:
        self.worker_threads.begin_epoch()
        super().__call__()
        self.worker_threads.end_epoch()


def two_views(pictures: Uint8, batch: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The loop's own views of the first batch, made beforehand."""
    ids = torch.arange(batch, device=device)
    pixels = torch.from_numpy(pictures[:batch]).to(device).permute(0, 3, 1, 2).contiguous()
    first, second = (make_views(pixels, stream_keys(0, 0, ids * 0, ids, view), RGB) for view in (0, 1))
    return first, second


def measure(steps: int = 4, rounds: int = 40) -> Row:
    # Many short turns: on a machine that is slow by turns, fifteen of eight steps were seen to be 3% off either way.
    torch.set_num_threads(cores())
    pictures, source = images()
    task, device = small_task(steps * BATCH), torch.device("cpu")
    resident = ResidentTraining(pictures[: steps * BATCH], task, device)
    splits = task.config.bn_splits
    views = two_views(pictures, BATCH, device)
    candidates: dict[str, Callable[[], None]] = {
        "loop": resident,
        "whole": BareStep(views, steps, 1, task.config),
        "split": BareStep(views, steps, splits, task.config),
        "worker threads": BareOnWorkerThreads(views, steps, splits, task.config),
    }
    seconds = alternate(candidates, rounds)
    against = {bare: ratio(seconds, bare, "loop") for bare in ("whole", "split", "worker threads")}
    share = min(against.values())
    return Row(
        f"1. Training loop over the bare step (ResNet-18, 28x28x3, batch {BATCH}, queue {task.config.queue_size})",
        f"{share:.3f}",
        f">= {GOAL}",
        share >= GOAL,
        [
            (f"loop, pairs on {source}, {resident.training.precision_reason}", speed(seconds["loop"], resident.pairs)),
            ("bare step, the whole batch at once", speed(seconds["whole"], resident.pairs)),
            (f"bare step, in the loop's {splits} batch-norm splits", speed(seconds["split"], resident.pairs)),
            ("bare step, in the loop's worker threads", speed(seconds["worker threads"], resident.pairs)),
            (
                "loop over the bare step at once, in splits, in worker threads",
                ", ".join(f"{each:.3f}" for each in against.values()),
            ),
            *where_it_goes(resident),
        ],
    )


def where_it_goes(resident: ResidentTraining) -> list[tuple[str, str]]:
    """One more epoch, with a stopwatch on what the first worker thread calls; the wait for others is in the rest."""
    training = resident.training
    model = training.model
    places: dict[str, list[tuple[Any, str]]] = {
        "queries forward (also in the bare step)": [(model.query_encoder, "forward")],
        "keys forward (also in the bare step)": [(model.key_encoder, "forward")],
        "backward (also in the bare step)": [(Tensor, "backward")],
        "optimizer (also in the bare step)": [(training.optimizer, "step"), (training.optimizer, "zero_grad")],
        "views": [(loop, "stream_keys"), (loop, "draw"), (loop, "augment"), (resident.pixels, "fetch")],
        "loss with its gradient, and queue": [(loop, "moco_loss"), (model, "enqueue")],
        "instance probability": [(loop, "instance_probability")],
        "confidence sums": [(training.confidence, "add"), (training.confidence, "end_epoch")],
        "key encoder's update": [(model, "update_key_encoder")],
        "gradients by convolutions' weights (also in the bare step)": [(WeightGradients, "_make")],
    }
    with stopwatch({"all": [(training, "run_epoch")], **places}) as spent:
        resident()
    whole = spent.pop("all")
    spent["the rest (order, gathering, sums, Python)"] = whole - sum(spent.values())
    steps = training.sampler.steps
    return [(f"a step of the loop: {name}", part(value, steps, whole)) for name, value in spent.items()]


def part(seconds: float, steps: int, whole: float) -> str:
    """Milliseconds a step, and the share of the whole."""
    return f"{1000 * seconds / steps:.1f} ms ({seconds / whole:.1%})"
