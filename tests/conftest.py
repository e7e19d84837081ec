"""Fixtures for all tests: a fake S3 on loopback, one local Ray, and the data that a fresh machine lacks."""

from __future__ import annotations

import functools
import itertools
import logging
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Tiny tensors: one thread is faster than two, and does not mind what else the machine is doing.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Without a GPU its kernels run in Triton's interpreter, which Triton must know when it is first imported.
if not Path("/dev/nvidiactl").exists():
    os.environ["TRITON_INTERPRET"] = "1"

import boto3
import pytest

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data and references; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("../shared is absent")
    return SHARED.resolve()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as slow what talks to the fake S3; ``make test-fast`` leaves it out."""
    for item in items:
        call = getattr(item, "callspec", None)
        params = [each for each in call.params.values() if isinstance(each, str)] if call else []
        if "s3_endpoint" in getattr(item, "fixturenames", ()) or "s3" in params:
            item.add_marker("slow")


def _one_at_a_time(function: Callable[..., Any]) -> Callable[..., Any]:
    lock = threading.Lock()

    @functools.wraps(function)
    def locked(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return function(*args, **kwargs)

    return locked


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A moto server on loopback, and an environment (of this process and all it starts) that leads to it."""
    from moto.s3.responses import S3Response
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    values = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
    with pytest.MonkeyPatch.context() as patch:
        # moto looks whether the key exists and writes it in two steps, each request on its own thread: of several
        # conditional writers two can win, as no real S3 allows.
        patch.setattr(S3Response, "put_object", _one_at_a_time(S3Response.put_object))
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
            patch.delenv(name, raising=False)
        for name, value in values.items():
            patch.setenv(name, value)
        yield endpoint
    server.stop()


@pytest.fixture(scope="session")
def make_bucket(s3_endpoint: str) -> Callable[[], str]:
    """A function that makes a new, empty bucket and returns its name."""
    numbers = itertools.count()

    def make() -> str:
        name = f"bucket-{next(numbers)}"
        boto3.client("s3").create_bucket(Bucket=name)
        return name

    return make


@pytest.fixture(scope="session")
def local_ray(s3_endpoint: str) -> Iterator[Any]:
    """One Ray of 2 CPUs for all tests. It starts after the fake S3: workers inherit the environment."""
    import ray

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # A process takes seconds to import what it needs: keep those that are idle.
        patch.setenv("RAY_num_workers_soft_limit", "8")
        patch.setenv("RAY_idle_worker_killing_time_threshold_ms", "120000")
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=512 << 20,
            configure_logging=False,
        )
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.use_datasource_v2 = False  # as our own sessions
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        yield ray
        ray.shutdown()


@pytest.fixture
def tiny_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts an encoder of a few thousand weights, with gradients that worker threads share, in place of ResNet-18."""
    from pipeline.moco import model
    from pipeline.moco.fast import worker_threads
    from tests.tiny import TinyNet

    monkeypatch.setitem(model.BACKBONES, "resnet18", TinyNet)
    monkeypatch.setattr(worker_threads, "MANY_WEIGHTS", 1)


@pytest.fixture(scope="session")
def bomb_png() -> bytes:
    """A whole and valid PNG of 20,000 x 20,000 black pixels in some 50 KB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    side = 20_000
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)  # 1 bit a pixel, grey
    rows = zlib.compress(bytes(side * (1 + side // 8)), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
