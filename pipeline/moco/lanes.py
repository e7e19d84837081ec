"""A worker's rows in parts: one after the other where memory is short, side by side on a CPU.

Threads that share every operation meet after each, and take over rows from one another wherever a batch-norm split ends
within a thread's share. So on a CPU there are lanes: each takes some of the splits from pixels through the backward
pass, on threads that no other lane has (docs/log.md). What is left of the gradients they share
(``moco.weight_gradients``).
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

from pipeline.moco.model import MoCo, batch_norms, convolutions
from pipeline.moco.split_norm import begin_epoch, end_epoch
from pipeline.moco.weight_gradients import WeightGradients

PIXELS_AT_ONCE = 1 << 22
"""5,350 images of 28 x 28, 83 of 224 x 224: some gigabytes of activations. More rows at once are faster."""

MANY_WEIGHTS = 50_000
"""Of a convolution whose gradient lanes share. Those of a ResNet's first stage have fewer, and by far the largest maps,
which would have left the cache by then."""

Found = TypeVar("Found")


class Lanes:
    """As many as divide both the worker's splits and torch's threads where they are made; on a GPU one.

    Args:
        model: of the first lane; the others have its weights and its queue, but gradients and statistics of their own.
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
        # The first lane is the caller's. No lane may wait for another's thread: they wait for one another.
        self._threads = [ThreadPoolExecutor(1, f"lane-{number}") for number in range(1, count)]

    def each(
        self, work: Callable[[MoCo, slice], Found], images: Tensor, then: Callable[[], None] = lambda: None
    ) -> list[Found]:
        """What ``work`` finds for each part of the rows, in their order.

        Args:
            work: (a lane's model, rows of a part: whole splits) -> anything; modes of a thread, such as no_grad, it
                sets itself.
            images: (rows, C, H, W), of which only the shape counts.
            then: called in every lane when its rows are done or have failed.
        """
        models, at_once = self._fitting(images)
        threads, share = torch.get_num_threads(), len(images) // len(models)

        def lane(number: int) -> list[Found]:
            try:
                # Here, not when the thread starts: torch gives a thread at its first operation what then holds for all.
                torch.set_num_threads(max(1, threads // len(models)))
                rows = range(number * share, (number + 1) * share, at_once)
                return [work(models[number], slice(start, min(start + at_once, rows.stop))) for start in rows]
            finally:
                then()

        others = [self._threads[number - 1].submit(lane, number) for number in range(1, len(models))]
        try:
            found = lane(0)
        finally:
            wait(others)
            torch.set_num_threads(threads)
        return [*found, *(each for other in others for each in other.result())]

    def backward(self, work: Callable[[MoCo, slice], Found], images: Tensor) -> list[Found]:
        """``each`` of work that goes backward; leaves the gradients of all rows at the first model's weights."""
        for weight in itertools.chain(*self._weights):
            weight.grad = None
        models, at_once = self._fitting(images)
        # Only where a lane goes backward once: what is kept of one part would lie beside the next part's maps.
        if len(models) > 1 and len(images) <= at_once * len(models):
            with WeightGradients(self._shared) as gradients:
                found = self.each(work, images, gradients.finish)
        else:
            found = self.each(work, images)
        self._sum_gradients()
        return found

    def _fitting(self, images: Tensor) -> tuple[list[MoCo], int]:
        """The models of the lanes to use, and how many rows each takes at once: as many splits as fit."""
        pixels = self._split_rows * images.shape[-2] * images.shape[-1]
        # All of them, or none beside the first: fewer would leave threads idle.
        models = self.models if len(self.models) * pixels <= PIXELS_AT_ONCE else self.models[:1]
        return models, self._split_rows * max(1, PIXELS_AT_ONCE // (pixels * len(models)))

    def _sum_gradients(self) -> None:
        """Add those that other lanes made themselves to the first lane's."""
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
        """Leave batch norm's statistics over all lanes and workers at the first model."""
        end_epoch(*(batch_norms(model) for model in self.models))


def _beside(model: MoCo) -> MoCo:
    """A copy that shares the memory of weights and queue."""
    shared: dict[int, Tensor] = {
        id(weight): nn.Parameter(weight.detach(), weight.requires_grad) for weight in model.parameters()
    }
    return copy.deepcopy(model, {**shared, id(model.queue): model.queue})
