"""Load and compile ahead what later stages of the same process will need."""

from __future__ import annotations

import importlib
import threading

import numpy as np

from pipeline.report.projection import project_2d

_POINTS = 40


def warm_up() -> threading.Thread:
    """In the background: torch and Ray Train, then UMAP, which compiles itself for some fifteen seconds on first use.

    Ray starts and images are read by other processes meanwhile; a run that took these one after the
    other would be a quarter longer (docs/log.md).

    Returns:
        The thread, to be joined before this process calculates: both set how many threads BLAS takes, which is one
        number for all of a process.
    """
    thread = threading.Thread(target=_load, name="warm-up", daemon=True)
    thread.start()
    return thread


def _load() -> None:
    importlib.import_module("pipeline.on_ray.training_worker")
    project_2d(np.random.default_rng(0).normal(size=(_POINTS, 8)).astype(np.float32), seed=0)
