"""What a training loop needs from its caller: a device, a place for checkpoints, a log.

The same loop runs in a test, under gloo and under Ray Train; rank and world size come from ``dist``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from pipeline.checkpoint import Checkpoint


class Context(Protocol):
    """The loop's surroundings."""

    device: torch.device

    def restore(self) -> Checkpoint | None:
        """The last checkpoint; None at a fresh start."""

    def report(self, metrics: Mapping[str, Any], checkpoint: Checkpoint | None) -> None:
        """Called by every worker at the end of every epoch; the checkpoint is the first worker's to keep."""

    def say(self, text: str) -> None:
        """Tell the user."""


@dataclass
class LocalContext:
    """One process, checkpoints in memory: for tests and for training without Ray."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    voice: Callable[[str], None] = lambda text: None
    history: list[Mapping[str, Any]] = field(default_factory=list)
    last: Checkpoint | None = None

    def restore(self) -> Checkpoint | None:
        """The last checkpoint reported to this object."""
        return self.last

    def report(self, metrics: Mapping[str, Any], checkpoint: Checkpoint | None) -> None:
        """Keep both."""
        self.history.append(metrics)
        if checkpoint is not None:
            self.last = checkpoint.snapshot()

    def say(self, text: str) -> None:
        """Pass on to ``voice``."""
        self.voice(text)
