"""One run: its settings, its store and its log. Every stage takes one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from shlex import quote
from typing import Any

from pipeline.config import RunConfig, store_flag, to_dict
from pipeline.storage import Location

CONFIG = "config.yaml"
"""A run's settings, in its folder."""
ARRAYS = "arrays"
"""The store's folder of arrays given to ``hacon.select``, each in a folder of its own."""


@dataclass(frozen=True)
class Run:
    """A run in this process. Workers are given the parts that they need, never the whole."""

    config: RunConfig
    store: Location
    log: Callable[[str], None]
    """Takes one line for people."""

    def folder(self, stage: str) -> str:
        """Where this run keeps a stage."""
        return run_folder(self.config.run, stage)

    def save(self, *, first: bool = False) -> None:
        """Save the settings as ``--config`` reads them. ``first``: only if none are saved yet."""
        if not (first and self.store.is_file(self.folder(CONFIG))):
            self.store.write_yaml(self.folder(CONFIG), to_dict(self.config))

    def save_group(self, group: str) -> None:
        """Save one group of settings and leave the other saved groups as they are."""
        saved, now = self.store.read_yaml(self.folder(CONFIG)), to_dict(self.config)
        self.store.write_yaml(self.folder(CONFIG), now if saved is None else {**saved, group: now[group]})


def run_folder(run: str, stage: str) -> str:
    """Where the run called ``run`` keeps a stage."""
    return f"runs/{run}/{stage}"


def saved_config(store: Location, run: str | None) -> dict[str, Any] | None:
    """The saved settings of a run, with ``reuse`` cleared. None: no such run, or nothing saved."""
    saved = None if run is None else store.read_yaml(run_folder(run, CONFIG))
    return None if saved is None else {**saved, "run": run, "store": store.uri, "reuse": None}


def next_command(config: RunConfig, size: int, k: int) -> str:
    """The command that doubles the budget and takes over all work. K stays the same, since it changes the order.

    Args:
        size: images in the pool; k: clusters of this run.
    """
    budget = min(2 * config.query.budget, size)
    more = f"--run {quote(f'{config.run}-more')} --budget {budget} --set cluster.k={k}"
    return f"hacon select --from {quote(config.run)} {more}{store_flag(config)}"
