"""Work on a GPU, recorded once and replayed (CUDA graphs).

A step at 28 x 28 pixels is thousands of small kernels, and launching them one by one takes several times as long as
what they compute (docs/speed.md).
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

PLAIN_CALLS = 2
"""Before the recording, for real: libraries choose kernels and memory is allocated."""

Found = TypeVar("Found")


class CudaGraph(Generic[Found]):
    """A function of tensors, all of whose calls do the same operations on tensors of the same shapes.

    On a CPU every call is a plain one. On a GPU, once the graph is captured, the next call overwrites what a call
    returned. Whatever else the function uses (weights, sums) must stay where it is in memory.
    """

    def __init__(self, call: Callable[..., Found]) -> None:
        self._call = call
        self._plain_calls = 0
        self._stream: torch.cuda.Stream | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        self._given: list[Tensor] = []
        self._found: Found

    def __call__(self, *given: Tensor) -> Found:
        """``call(*given)``."""
        if given[0].device.type != "cuda":
            return self._call(*given)
        if self._graph is None and self._plain_calls < PLAIN_CALLS:
            self._plain_calls += 1
            return self._plainly(*given)
        graph = self._graph or self._record(*given)
        for own, new in zip(self._given, given, strict=True):
            own.copy_(new)
        graph.replay()
        return self._found

    def _plainly(self, *given: Tensor) -> Found:
        # Beside the stream of everything else, as the recording must be, so that autograd gets used to it.
        self._stream = self._stream or torch.cuda.Stream(given[0].device)
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            found = self._call(*given)
        torch.cuda.current_stream().wait_stream(self._stream)
        return found

    def _record(self, *given: Tensor) -> torch.cuda.CUDAGraph:
        self._given = [tensor.clone() for tensor in given]
        graph = torch.cuda.CUDAGraph()
        gc.collect()  # what is freed by chance while recording could end it
        # Only this thread: another may well read the next images from storage meanwhile.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            self._found = self._call(*self._given)
        self._graph = graph
        return graph
