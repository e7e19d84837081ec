"""A worker's rows in parts: one after the other where memory is short, side by side on a CPU.

Threads that share every operation must meet after each one. So on a CPU each worker thread takes some of the batch-norm
splits all the way, from pixels through the backward pass (docs/dev/log.md). They share what is left of the gradients
(``moco.fast.weight_gradients``).
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch
from torch import Tensor, nn

from pipeline.moco.fast.split_norm import begin_epoch, end_epoch
from pipeline.moco.fast.weight_gradients import WeightGradients
from pipeline.moco.model import MoCo, batch_norms, convolutions

PIXELS_AT_ONCE = 1 << 22
"""5,350 images of 28 x 28, 83 of 224 x 224: some gigabytes of activations. More rows at once are faster."""

MANY_WEIGHTS = 50_000
"""Of a convolution whose gradient worker threads share. Those of a ResNet's first stage have fewer, and by far the
largest maps, which would have left the cache by then."""

Found = TypeVar("Found")


class WorkerThreads:
    """As many as divide both the worker's splits and torch's threads where they are made; on a GPU one.

    Args:
        model: of the first worker thread; the others share its weights and its queue, and have gradients and
            statistics of their own.
        split_rows: rows of a batch-norm split; rows: of this worker.
    """

    def __init__(self, model: MoCo, split_rows: int, rows: int, device: torch.device) -> None:
        self._split_rows = split_rows
        count = 1 if device.type == "cuda" else math.gcd(torch.get_num_threads(), rows // split_rows)
        self.models = [model, *(_beside(model) for _ in range(count - 1))]
        self._shared = [
            [layer for layer in convolutions(each.query_encoder) if layer.weight.numel() >= MANY_WEIGHTS]
            for each in self.models
        ]
        self._weights = [list(model.query_encoder.parameters()) for model in self.models]
        # The first is the caller's own thread. Each of the others has one to itself, since they wait for one another.
        self._threads = [ThreadPoolExecutor(1, f"moco-{number}") for number in range(1, count)]

    def each(
        self, work: Callable[[MoCo, slice], Found], images: Tensor, then: Callable[[], None] = lambda: None
    ) -> list[Found]:
        """What ``work`` finds for each part of the rows, in their order.

        Args:
            work: (a worker thread's model, rows of a part: whole splits) -> anything. It sets modes of a thread itself,
                such as no_grad.
            images: (rows, C, H, W), of which only the shape counts.
            then: called in every worker thread when its rows are done or have failed.
        """
        models, at_once = self._fitting(images)
        threads, share = torch.get_num_threads(), len(images) // len(models)

        def thread(number: int) -> list[Found]:
            try:
                # Here, not when the thread starts: torch gives a thread at its first operation what then holds for all.
                torch.set_num_threads(max(1, threads // len(models)))
                rows = range(number * share, (number + 1) * share, at_once)
                return [work(models[number], slice(start, min(start + at_once, rows.stop))) for start in rows]
            finally:
                then()

        others = [self._threads[number - 1].submit(thread, number) for number in range(1, len(models))]
        try:
            found = thread(0)
        finally:
            wait(others)
            torch.set_num_threads(threads)
        return [*found, *(each for other in others for each in other.result())]

    def backward(self, work: Callable[[MoCo, slice], Found], images: Tensor) -> list[Found]:
        """``each`` of work that goes backward; leaves the gradients of all rows at the first model's weights."""
        for weight in itertools.chain(*self._weights):
            weight.grad = None
        models, at_once = self._fitting(images)
        # Only where a worker thread goes backward once: what is kept of one part would lie beside the next part's maps.
        if len(models) > 1 and len(images) <= at_once * len(models):
            with WeightGradients(self._shared) as gradients:
                found = self.each(work, images, gradients.finish)
        else:
            found = self.each(work, images)
        self._sum_gradients()
        return found

    def _fitting(self, images: Tensor) -> tuple[list[MoCo], int]:
        """The models of the worker threads to use, and how many rows each takes at once: as many splits as fit."""
        pixels = self._split_rows * images.shape[-2] * images.shape[-1]
        # All of them, or none beside the first: fewer would leave threads idle.
        models = self.models if len(self.models) * pixels <= PIXELS_AT_ONCE else self.models[:1]
        return models, self._split_rows * max(1, PIXELS_AT_ONCE // (pixels * len(models)))

    def _sum_gradients(self) -> None:
        """Add those that other worker threads made themselves to the first worker thread's."""
        first, *others = self._weights
        for other in others:
            made = [
                (ours.grad, theirs.grad) for ours, theirs in zip(first, other, strict=True) if theirs.grad is not None
            ]
            if made:
                torch._foreach_add_(*zip(*made, strict=True))

    def begin_epoch(self) -> None:
        """Forget batch norm's statistics."""
        begin_epoch([layer for model in self.models for layer in batch_norms(model)])

    def end_epoch(self) -> None:
        """Leave batch norm's statistics over all worker threads and workers at the first model."""
        end_epoch(*(batch_norms(model) for model in self.models))


def _beside(model: MoCo) -> MoCo:
    """A copy that shares the memory of weights and queue."""
    shared: dict[int, Tensor] = {
        id(weight): nn.Parameter(weight.detach(), weight.requires_grad) for weight in model.parameters()
    }
    return copy.deepcopy(model, {**shared, id(model.queue): model.queue})
