"""Tensors and their facts in one safetensors file: one object on the store, whole or absent, no pickle."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor


@dataclass(frozen=True)
class Checkpoint:
    """``tensors`` by name, ``facts`` JSON-ready (epochs done, history, what it belongs to)."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def save(self, path: str | Path) -> None:
        """Write one safetensors file; the facts are in its header."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        try:
            save_file(tensors, path, metadata={"facts": json.dumps(self.facts)})
        except SafetensorError as error:
            number = re.search(r"\(os error (\d+)\)", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), str(error)) from None

    @classmethod
    def load(cls, path: str | Path) -> Checkpoint:
        """The inverse of ``save``; tensors on the CPU."""
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            return cls(tensors, json.loads(file.metadata()["facts"]))

    def snapshot(self) -> Checkpoint:
        """A copy on the CPU, which further training does not change."""
        copies = {}
        for name, tensor in self.tensors.items():
            copies[name] = tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        return Checkpoint(copies, self.facts)

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose name begins with ``prefix.``, without it."""
        start = f"{prefix}."
        return {name[len(start) :]: tensor for name, tensor in self.tensors.items() if name.startswith(start)}


class CheckpointWriter:
    """Writes checkpoints to one place while training goes on; one at a time, in order.

    Args:
        writing: a block that gives a path, and puts what was written there in its place, whole or not at all.
    """

    def __init__(self, writing: Callable[[], AbstractContextManager[Path]]) -> None:
        self._writing = writing
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._last: Future[None] | None = None

    def write(self, checkpoint: Checkpoint) -> None:
        """Begin to write it as it is now, when the one before is written.

        Raises:
            OSError: the one before could not be written.
        """
        self.finish()
        self._last = self._thread.submit(self._save, checkpoint.snapshot())

    def finish(self) -> None:
        """Wait until all is written.

        Raises:
            OSError: it could not be.
        """
        if self._last is not None:
            self._last.result()

    def _save(self, checkpoint: Checkpoint) -> None:
        with self._writing() as path:
            checkpoint.save(path)
