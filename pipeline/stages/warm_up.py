"""Load and compile ahead what later stages of the same process will need."""

from __future__ import annotations

import importlib
import threading

import numpy as np

from pipeline.report.projection import project_2d

_POINTS = 40


def warm_up() -> tuple[threading.Thread, threading.Thread]:
    """In the background: torch and Ray Train, then UMAP, which takes half a minute where set-up has not compiled it.

    Ray starts and images are read by other processes meanwhile; a run that took these one after the
    other would be a quarter longer (docs/dev/log.md).

    Returns:
        Two threads to join. The first before Ray is asked for anything: it may import torch itself, and two threads
        that import torch can find it half made. The second before this process calculates: both set how many
        threads BLAS takes, which is one number for all of a process.
    """
    importing = threading.Thread(
        target=importlib.import_module, args=("pipeline.on_ray.training_worker",), name="warm-up: import", daemon=True
    )
    compiling = threading.Thread(target=_compile, args=(importing,), name="warm-up: compile", daemon=True)
    importing.start()
    compiling.start()
    return importing, compiling


def _compile(after: threading.Thread) -> None:
    after.join()
    compile_umap()


def compile_umap() -> None:
    """Map a few points. What is compiled for it stays on disk; ``make setup`` calls this too."""
    project_2d(np.random.default_rng(0).normal(size=(_POINTS, 8)).astype(np.float32), seed=0)
