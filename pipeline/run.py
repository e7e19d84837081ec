"""One run: its settings, its store, and where it says what it does. Every stage is given one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.config import RunConfig, store_flag, to_dict
from pipeline.storage import Location

CONFIG = "config.yaml"
"""A run's settings, in its folder."""
ARRAYS = "arrays"
"""The store's folder for arrays that were given in Python, each in a folder of its own."""


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

    def save(self, *, first: bool = False) -> None:
        """The settings beside the results, as ``--config`` reads them. ``first``: only where there are none yet."""
        if not (first and self.store.is_file(self.folder(CONFIG))):
            self.store.write_yaml(self.folder(CONFIG), to_dict(self.config))

    def save_group(self, group: str) -> None:
        """One group of settings into those that the run was saved with."""
        saved, now = self.store.read_yaml(self.folder(CONFIG)), to_dict(self.config)
        self.store.write_yaml(self.folder(CONFIG), now if saved is None else {**saved, group: now[group]})


def run_folder(run: str, stage: str) -> str:
    """Where the run called ``run`` keeps a stage."""
    return f"runs/{run}/{stage}"


def saved_config(store: Location, run: str | None) -> dict[str, Any] | None:
    """The settings that a run was saved with, less what belongs to one call; None where there is no such run."""
    saved = None if run is None else store.read_yaml(run_folder(run, CONFIG))
    return None if saved is None else {**saved, "run": run, "store": store.uri, "reuse": None}


def next_command(config: RunConfig, size: int, k: int) -> str:
    """Twice the budget, all work taken over, and the same K, or the order would be another.

    Args:
        size: images in the pool; k: clusters of this run.
    """
    budget = min(2 * config.query.budget, size)
    more = f"--run {config.run}-more --budget {budget} --set cluster.k={k}"
    return f"hacon select --from {config.run} {more}{store_flag(config)}"
