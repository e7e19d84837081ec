"""`ray job submit` of the main job on a cluster of two nodes on this machine, its lock on, images and results on S3."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from pipeline.artifacts import confidence_at
from pipeline.data.sampler import Sampler
from pipeline.storage import Location
from tests.reading import draws
from tests.runs import files_of

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SIZE, BUDGET, EPOCHS, BATCH = 150, 12, 2, 33
SETTINGS = ["preset=hacon", f"pretrain.epochs={EPOCHS}", f"pretrain.batch_size={BATCH}", "pretrain.queue_size=66"]
# Three workers of half a CPU do not fit on a node of one CPU.
WORKERS = ["--workers", "3", "--set", "pretrain.bn_splits=3", "cluster.k=8", "report.umap_points=40"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def environment(s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of the cluster's nodes and of whoever submits: the lock's key, and S3."""
    key = tmp_path_factory.mktemp("key") / "token"
    key.write_text(secrets.token_hex(32))
    key.chmod(0o600)
    inherited = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    lock = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(key)}
    # Of a node's idle processes Ray keeps as many as it has CPUs; to start one takes seconds, and these have one CPU.
    kept = {"RAY_num_workers_soft_limit": "6", "RAY_idle_worker_killing_time_threshold_ms": "120000"}
    return {**inherited, **lock, **kept, "RAY_USAGE_STATS_ENABLED": "0", "PATH": f"{BIN}:{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def dashboard(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster of two nodes with one CPU each."""
    port, web = _free_port(), _free_port()
    # Any free port for the nodes' agents, which take jobs: the usual one may be another Ray's of this machine.
    common = [str(BIN / "ray"), "start", "--block", "--num-cpus", "1", "--object-store-memory", "300000000"]
    common += ["--dashboard-agent-listen-port", "0"]
    # A folder of its own for each node, as on a machine of its own: they would unpack the job's code over each other.
    folders = [tempfile.mkdtemp(prefix="ray-", dir="/tmp") for _ in range(2)]  # short: sockets lie in it
    starts = [
        [*common, "--temp-dir", folders[0], "--head", "--port", str(port), "--dashboard-port", str(web)],
        [*common, "--temp-dir", folders[1], "--address", f"127.0.0.1:{port}"],
    ]
    nodes, deadline = [], time.monotonic() + 120
    log = (tmp_path_factory.mktemp("nodes") / "log").open("w+")
    try:
        for start in starts:
            # Each in a session of its own, so that ending it ends what it started and nobody else's Ray.
            nodes.append(subprocess.Popen(start, env=environment, stdout=log, stderr=log, start_new_session=True))
            _wait_for(port)
        _wait_for(web)
        while True:
            status = [str(BIN / "ray"), "status", "--address", f"127.0.0.1:{port}"]
            if (
                "/2.0 CPU"
                in subprocess.run(status, env=environment, capture_output=True, text=True, check=False).stdout
            ):
                break
            assert time.monotonic() < deadline, "the second node has not come"
            time.sleep(1)
        yield f"http://127.0.0.1:{web}"
    finally:
        for node in nodes:
            _end_session(node.pid)
        for folder in folders:
            shutil.rmtree(folder)


def _end_session(session: int) -> None:
    """Kill all of it at once: Ray's own way down takes half a minute."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                if os.getsid(int(folder.name)) == session:
                    os.kill(int(folder.name), signal.SIGKILL)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 90
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline, f"nothing listens on port {port}"
        time.sleep(0.2)


def _submit(dashboard: str, environment: dict[str, str], *entrypoint: str) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "ray"), "job", "submit", "--address", dashboard, "--working-dir", str(ROOT), "--", *entrypoint]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=False)


@pytest.mark.timeout(900)
def test_the_main_job_on_two_nodes(
    dashboard: str, environment: dict[str, str], make_bucket: Callable[[], str], tmp_path: Path
) -> None:
    file = tmp_path / "digits.npz"
    np.savez(file, train_images=(load_digits().images[:SIZE] * 15.9).astype(np.uint8))
    store = Location(f"s3://{make_bucket()}/hacon")
    flags = ["--pool", f"npz:{file}", "--store", store.uri, "--run", "two", "--budget", str(BUDGET), *WORKERS]
    done = _submit(dashboard, environment, "python", "-m", "jobs.select", *flags, *SETTINGS)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    for words in ("2 nodes, 2 CPUs", "pretrain on 3 workers", "of 150 images to label first"):
        assert words in said, said
    rows = list(csv.DictReader(io.StringIO(store.read_bytes("runs/two/query/query.csv").decode())))
    assert len({row["sample_id"] for row in rows}) == len(rows) == BUDGET
    table = confidence_at(store.read_table(files_of(store, "two", "pretrain") + "/confidence.parquet"), 0.05)
    assert np.array_equal(table.count, draws(Sampler(SIZE, 1, BATCH, seed=0, window=10**9), EPOCHS))
    assert b"classes covered" not in store.read_bytes("runs/two/report/report.html"), "no labels were given"


def test_bad_input_fails_the_job_with_its_sentence(dashboard: str, environment: dict[str, str]) -> None:
    done = _submit(dashboard, environment, "python", "-m", "jobs.select", "--pool", "digits", "--budget", "0")
    assert done.returncode != 0
    assert "hacon select: The budget is 0; give the number of images to label" in done.stdout + done.stderr


def test_without_the_key_nothing_is_taken(dashboard: str, environment: dict[str, str], tmp_path: Path) -> None:
    other = tmp_path / "token"
    other.write_text(secrets.token_hex(32))
    done = _submit(
        dashboard, {**environment, "RAY_AUTH_TOKEN_PATH": str(other)}, "python", "-c", "print('has ' + 'run')"
    )
    assert done.returncode != 0
    assert "401" in done.stdout + done.stderr or "auth" in (done.stdout + done.stderr).lower()
    assert "has run" not in done.stdout
