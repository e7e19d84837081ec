"""Load and compile ahead what later stages of the same process will need."""

from __future__ import annotations

import threading

import numpy as np

from pipeline.report.projection import project_2d

_POINTS = 40


def warm_up() -> None:
    """In the background: torch for Ray Train, and UMAP, which compiles itself for some fifteen seconds on first use.

    Ray starts and training goes on in other processes meanwhile; a run that took these one after the
    other would be a quarter longer (docs/log.md).
    """
    threading.Thread(target=_load, name="warm-up", daemon=True).start()


def _load() -> None:
    import ray.train.torch

    assert ray.train.torch.TorchTrainer
    project_2d(np.random.default_rng(0).normal(size=(_POINTS, 8)).astype(np.float32), seed=0)
