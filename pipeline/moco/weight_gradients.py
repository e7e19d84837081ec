"""Gradients by convolutions' weights, apart from the backward passes of the lanes that they belong to.

A third of a step's arithmetic, on which nothing in the backward pass waits. So it is left until the lanes have done the
rest, and then taken layer by layer by whichever has time: lanes end together, however much slower one core was for a
moment. Who takes a layer makes it for the rows of every lane and adds these up.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from functools import partial
from queue import PriorityQueue

import torch
from torch import Tensor

from pipeline.moco.small_maps import SmallMapConv2d

_NO_MORE = (math.inf, -1)


class WeightGradients:
    """Of one step; a context, within which every lane goes backward once and then calls ``finish``.

    Args:
        lanes: each lane's convolutions, in the same order. The first lane's weights get the gradients.
    """

    def __init__(self, lanes: Sequence[Sequence[SmallMapConv2d]]) -> None:
        self._layers = list(zip(*lanes, strict=True))
        self._told: list[dict[int, tuple[Tensor, Tensor]]] = [{} for _ in self._layers]
        # The largest first, so that lanes end with small ones, and end together.
        self._ready: PriorityQueue[tuple[float, int]] = PriorityQueue()
        self._lanes = self._still_backward = len(lanes)
        self._lock = threading.Lock()

    def __enter__(self) -> WeightGradients:
        for number, layers in enumerate(self._layers):
            for lane, layer in enumerate(layers):
                layer.defer = partial(self._tell, number, lane)
        return self

    def __exit__(self, *error: object) -> None:
        for layers in self._layers:
            for layer in layers:
                layer.defer = None

    def finish(self) -> None:
        """In a lane, after its backward pass or what became of it: make gradients until there are no more."""
        with self._lock:
            self._still_backward -= 1
            last = not self._still_backward
        if last:
            for _ in range(self._lanes):
                self._ready.put(_NO_MORE)
        while (ready := self._ready.get()) != _NO_MORE:
            self._make(ready[1])

    def _tell(self, number: int, lane: int, maps: Tensor, gradient: Tensor) -> None:
        with self._lock:
            told = self._told[number]
            assert lane not in told, "a lane goes backward once"
            told[lane] = maps, gradient
            whole = len(told) == self._lanes
        if whole:
            self._ready.put((-self._layers[number][lane].multiplications(maps), number))

    @torch.no_grad()
    def _make(self, number: int) -> None:
        layer, told = self._layers[number][0], self._told[number]
        total: Tensor | None = None
        for lane in range(self._lanes):  # in their order, whoever does it: the same bits every time
            total = layer.weight_gradient(*told.pop(lane), total)
        layer.weight.grad = total
