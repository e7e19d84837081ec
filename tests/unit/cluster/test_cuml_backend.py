"""What can be held of the cuML backend without a GPU: the choice of memory, the words, the call itself.

The call is checked against a stand-in with the signature of cuML 26.10's ``KMeans``; a real run
belongs to tests/gpu.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from sklearn.cluster import KMeans as SklearnKMeans

from pipeline.cluster import cuml_backend, kmeans

FEATURES = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)


class StandIn:
    """cuml.cluster.KMeans: the keyword-only parameters of release 26.10, the work by scikit-learn."""

    made: ClassVar[list[StandIn]] = []

    def __init__(
        self,
        *,
        n_clusters: int = 8,
        max_iter: int = 300,
        tol: float = 1e-4,
        verbose: bool = False,
        random_state: int | None = None,
        init: str = "scalable-k-means++",
        n_init: int | str = "auto",
        oversampling_factor: float = 2.0,
        max_samples_per_batch: int = 1 << 15,
        device_buffer_samples: int = 0,
        init_size: int = 0,
        output_type: str | None = None,
    ) -> None:
        assert init in ("scalable-k-means++", "k-means||", "k-means++", "random")
        self.given = dict(locals())
        StandIn.made.append(self)

    def fit(self, features: Any) -> StandIn:
        assert isinstance(features, np.ndarray)
        assert features.flags.c_contiguous
        assert features.dtype == np.float32
        names = ("n_clusters", "n_init", "random_state")
        model = SklearnKMeans(**{name: self.given[name] for name in names}).fit(features)
        self.cluster_centers_ = model.cluster_centers_
        return self


def install(monkeypatch: pytest.MonkeyPatch, *, free_bytes: int = 2**30, devices: int | Exception = 1) -> None:
    """Put stand-ins for cuml and cupy where imports find them."""

    def count() -> int:
        if isinstance(devices, Exception):
            raise devices
        return devices

    runtime = SimpleNamespace(getDeviceCount=count, memGetInfo=lambda: (free_bytes, 2 * free_bytes))
    cupy, cuml, cluster = ModuleType("cupy"), ModuleType("cuml"), ModuleType("cuml.cluster")
    cupy.cuda = SimpleNamespace(runtime=runtime)  # type: ignore[attr-defined]
    cluster.KMeans = StandIn  # type: ignore[attr-defined]
    cuml.__spec__ = importlib.util.spec_from_loader("cuml", None)
    for module in (cupy, cuml, cluster):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    StandIn.made.clear()


def test_why_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    assert cuml_backend.why_unavailable() is None
    install(monkeypatch, devices=0)
    assert cuml_backend.why_unavailable() == "no GPU is usable"
    install(monkeypatch, devices=RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected"))
    assert cuml_backend.why_unavailable() == (
        "no GPU is usable (cudaErrorNoDevice: no CUDA-capable device is detected)"
    )
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "CuPy, which cuML needs, does not load" in (cuml_backend.why_unavailable() or "")


@pytest.mark.skipif(importlib.util.find_spec("cuml") is not None, reason="cuML is installed here")
def test_without_cuml() -> None:
    assert cuml_backend.why_unavailable() == "cuML is not installed"


def test_small_input_is_copied_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    result = kmeans(FEATURES, 3, seed=7, backend="cuml", n_init=2, max_iter=50)
    (made,) = StandIn.made
    assert result.backend == "cuml"
    assert result.reason == "cluster.backend=cuml was asked for"
    wanted = {"n_clusters": 3, "n_init": 2, "max_iter": 50, "random_state": 7, "device_buffer_samples": 0}
    assert {name: made.given[name] for name in wanted} == wanted
    assert sorted(set(result.labels.tolist())) == [0, 1, 2]


def test_input_larger_than_the_gpu_is_buffered(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, free_bytes=16 * 30 * 2 - 1)  # 60 rows of 16 bytes do not fit in half of it
    result = kmeans(FEATURES, 3, seed=7, backend="auto")
    (made,) = StandIn.made
    assert result.backend == "cuml-buffered"
    assert made.given["device_buffer_samples"] == (16 * 30 * 2 - 1) // 8 // 16
    assert made.given["init_size"] == made.given["device_buffer_samples"]


@pytest.mark.parametrize(
    ("n", "dimensions", "free_bytes", "rows"),
    [(1000, 1, 8000, 0), (1000, 1, 7999, 249), (10**9, 2048, 80 * 10**9, 1_220_703), (10, 10**6, 8, 1)],
)
def test_buffer_rows(n: int, dimensions: int, free_bytes: int, rows: int) -> None:
    assert cuml_backend.buffer_rows(n, dimensions, free_bytes) == rows
