"""Load and compile in advance what later stages of this process need."""

from __future__ import annotations

import importlib
import threading

import numpy as np

from pipeline.report.projection import project_2d

_POINTS = 40


def warm_up(training: bool) -> tuple[threading.Thread, threading.Thread]:
    """Load torch and Ray Train in the background, then compile UMAP: half a minute, unless set-up has compiled it.

    Meanwhile Ray starts and other processes read images. One after the other, a run would take a quarter longer
    (docs/dev/log.md).

    Args:
        training: whether MoCo will be trained.

    Returns:
        Two threads to join. Join the first before any call to Ray: Ray may import torch itself, and two threads that
        import torch at once can see it half loaded. Join the second before this process computes: both set the number
        of BLAS threads, which is one number for the whole process.
    """
    module = "pipeline.on_ray.training_worker" if training else "pipeline.embed"
    importing = threading.Thread(target=importlib.import_module, args=(module,), name="warm-up: import", daemon=True)
    compiling = threading.Thread(target=_compile, args=(importing,), name="warm-up: compile", daemon=True)
    importing.start()
    compiling.start()
    return importing, compiling


def _compile(after: threading.Thread) -> None:
    after.join()
    compile_umap()


def compile_umap() -> None:
    """Map a few points. The compiled code stays on disk; ``make setup`` calls this too."""
    project_2d(np.random.default_rng(0).normal(size=(_POINTS, 8)).astype(np.float32), seed=0)
