"""Tensors and their facts in one safetensors file: one object on the store, whole or absent, no pickle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
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
        save_file(tensors, path, metadata={"facts": json.dumps(self.facts)})

    @classmethod
    def load(cls, path: str | Path) -> Checkpoint:
        """The inverse of ``save``; tensors on the CPU."""
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            return cls(tensors, json.loads(file.metadata()["facts"]))

    def part(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose name begins with ``prefix.``, without it."""
        start = f"{prefix}."
        return {name[len(start) :]: tensor for name, tensor in self.tensors.items() if name.startswith(start)}
