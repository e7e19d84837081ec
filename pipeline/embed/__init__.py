"""Images -> unit-norm features: by MoCo's encoder or a frozen network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from safetensors.torch import load

from pipeline.ahead import map_ahead
from pipeline.artifacts import Encoder, Float32, Uint8
from pipeline.embed.backbone import BackboneEmbedder
from pipeline.embed.moco import Embedder

MOST_WORKER_THREADS = 4
"""Each worker thread runs Python beside the others, and one of them at a time has the interpreter."""

Part = TypeVar("Part")
Found = TypeVar("Found")


def open_embedder(file: bytes, encoder: Encoder, device: torch.device) -> Callable[[Uint8], Float32]:
    """The function (n, H, W, C) uint8 -> (n, D) float32 of norm 1; ``file`` is the content of ``encoder.file``."""
    weights = load(file)
    if encoder.kind == "moco":
        return Embedder(weights, encoder.name, device)
    return BackboneEmbedder(encoder, weights, device)


def worker_threads() -> int:
    """How many threads should embed side by side on this machine's CPU."""
    return min(torch.get_num_threads(), MOST_WORKER_THREADS)


def on_worker_threads(work: Callable[[Part], Found], parts: Iterable[Part], count: int) -> Iterator[Found]:
    """``map`` on a CPU with ``count`` parts at a time, each on its share of torch's threads; results in order.

    Threads that share every operation must meet after each one, and one that reads or writes holds up all of them.
    These wait for nobody: a fifth faster (docs/dev/log.md).
    """
    threads = torch.get_num_threads()

    def thread(part: Part) -> Found:
        # Here, not when the thread starts: torch gives a thread at its first operation what then holds for all.
        torch.set_num_threads(max(1, threads // count))
        return work(part)

    try:
        yield from map_ahead(thread, parts, threads=count, ahead=count)  # one more, so that none waits for the caller
    finally:
        torch.set_num_threads(threads)
