"""One run: its settings, its store, and where it says what it does. Every stage is given one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.config import RunConfig
from pipeline.storage import Location


@dataclass(frozen=True)
class Run:
    """A run in this process. Workers are given what they need of it, never the whole."""

    config: RunConfig
    store: Location
    log: Callable[[str], None]
    """Takes one line for people."""

    def folder(self, stage: str) -> str:
        """Where this run keeps a stage."""
        return run_folder(self.config.run, stage)


def run_folder(run: str, stage: str) -> str:
    """Where the run called ``run`` keeps a stage."""
    return f"runs/{run}/{stage}"
