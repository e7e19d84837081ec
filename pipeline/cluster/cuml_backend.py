"""K-means centroids by cuML on one GPU. The only module that imports cuML or CuPy, and only when used.

Written for cuML 26.8 and later (``device_buffer_samples`` and ``init_size`` of
``cuml.cluster.KMeans``). Seeded; but a GPU adds up in no fixed order, so the last bits of the
centroids may differ from run to run where scikit-learn's do not.
"""

from __future__ import annotations

import importlib.util

import numpy as np

from pipeline.artifacts import Float32

START_ROWS = 20_000
"""Rows drawn for the k-means|| start when the input is buffered, or 100 a cluster where that is more."""


def why_unavailable() -> str | None:
    """What keeps cuML from running here, as the middle of a sentence; None where it can run."""
    if importlib.util.find_spec("cuml") is None:
        return "cuML is not installed"
    try:
        import cupy

        found = cupy.cuda.runtime.getDeviceCount()
    except ImportError as error:
        return f"CuPy, which cuML needs, does not load ({_first_line(error)})"
    except RuntimeError as error:  # CUDARuntimeError: no driver, one too old, or no device
        return f"no GPU is usable ({_first_line(error)})"
    return None if found else "no GPU is usable"


def fit(features: Float32, k: int, seed: int, n_init: int, max_iter: int) -> tuple[str, Float32]:
    """Centroids (K, D) of host-resident ``features`` (N, D), and which way it ran: cuml or cuml-buffered.

    What fits in half of the GPU's free memory is copied there whole; more stays on the host and
    passes through a buffer, once an iteration.
    """
    import cupy
    from cuml.cluster import KMeans

    free, _ = cupy.cuda.runtime.memGetInfo()
    n, dimensions = features.shape
    rows = buffer_rows(n, dimensions, free)
    model = KMeans(
        n_clusters=k,
        init="scalable-k-means++",
        n_init=n_init,
        max_iter=max_iter,
        random_state=seed,
        device_buffer_samples=rows,
        # cuML's own default of 3 rows a cluster is a poor start; whole input on the GPU ignores this.
        init_size=min(n, rows, max(START_ROWS, 100 * k)),
        output_type="numpy",
    )
    model.fit(np.ascontiguousarray(features))
    return ("cuml-buffered" if rows else "cuml"), np.asarray(model.cluster_centers_, np.float32)


def buffer_rows(n: int, dimensions: int, free_bytes: int) -> int:
    """Rows of (n, dimensions) float32 to hold on the GPU at a time; 0: it takes them all at once.

    A buffer is an eighth of the free memory: cuML overlaps copying one with working on another.
    """
    row_bytes = 4 * dimensions
    if n * row_bytes <= free_bytes // 2:
        return 0
    return max(1, free_bytes // 8 // row_bytes)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
