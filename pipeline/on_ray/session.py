"""Join the cluster we were started on, or start Ray inside this process."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import Any

import ray
import ray.data
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.errors import InputError
from pipeline.home import ray_folder, settle_home
from pipeline.machine import cores
from pipeline.progress import counted, silent
from pipeline.storage import Location

AUTOSCALED_GPUS = "autoscaled_gpus"
"""The head's resource in cluster.yaml that announces GPU nodes of which none has started. Ray does not say so."""

_QUIET = {"RAY_DATA_DISABLE_PROGRESS_BARS": "1", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Our log lines report progress. Ray's progress bars, from many processes at once, would bury them."""

_LOCAL = "local"
_ANSWER_SECONDS = 15
"""Within which a running Ray must answer; by itself Ray would try for minutes."""
_ASK = "import sys; from ray._raylet import GcsClient; GcsClient(address=sys.argv[1]).check_alive([], timeout=10)"


class _OursFirst(list[str]):
    """The folders that workers put in front of their ``sys.path``, one by one: the last comes to lie first.

    Ray adds the driver's working directory, where somebody may keep a ``pipeline.py`` of their own. Ours and the
    standard library's stay in front of it.
    """

    def extend(self, folders: Iterable[str]) -> None:
        """Add ``folders`` behind ours."""
        self[:0] = folders


@contextmanager
def ray_session(say: Callable[[str], None], store: Location | None = None) -> Iterator[None]:
    """Ray for the duration of the block. A running Ray is joined and left running.

    Under ``ray job submit`` (or with RAY_ADDRESS set) that is the cluster; otherwise an embedded one
    with this machine's cores, no dashboard and no telemetry. Token authentication is Ray's own setting
    and stays as it is.

    Args:
        store: the block's store. Every node must see it.

    Raises:
        InputError: one does not; no Ray answers at RAY_ADDRESS.
    """
    ours = not ray.is_initialized()
    if ours:
        address = os.environ.get("RAY_ADDRESS") or _LOCAL
        embedded = address == _LOCAL
        arguments = _embedded() if embedded else _joined(address)
        with _own_sigterm():
            # In every process: Ray's libraries tell a terminal more than it can hold; all of it is in Ray's log files.
            ray.init(
                logging_level=logging.ERROR,
                logging_config=ray.LoggingConfig(log_level="ERROR"),
                log_to_driver=say is not silent,
                job_config=_job(),
                **arguments,
            )
        say(f"Ray {ray.__version__}: {'embedded, ' if embedded else ''}{_resources()}")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # The younger reader starts some six processes to read the footers of as few files; the older one none.
    context.use_datasource_v2 = False
    quieten()
    try:
        if store is not None and not store.is_s3:
            _check_seen_everywhere(store, say)
        yield
    finally:
        if ours:
            ray.shutdown()


def _job() -> ray.job_config.JobConfig:
    """Workers import the code that this process runs, whatever lies in the working directory."""
    job = ray.job_config.JobConfig()
    standard = [os.path.join(sysconfig.get_path("platstdlib"), "lib-dynload"), sysconfig.get_path("stdlib")]
    job._py_driver_sys_path = _OursFirst([str(Path(__file__).resolve().parents[2]), *standard])
    return job


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray puts a handler of its own in place, which prints a stack; whoever has one keeps it."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if main and callable(before):
            signal.signal(signal.SIGTERM, before)


def _joined(address: str) -> dict[str, Any]:
    """Arguments to join the Ray at ``address``.

    Raises:
        InputError: it is no address, or nothing answers there.
    """
    remedy = "start that cluster, or unset RAY_ADDRESS to compute on this machine"
    if re.match("https?://", address):
        raise InputError(
            f"RAY_ADDRESS='{address}' is where jobs are submitted: write "
            f"ray job submit --address {quote(address)} -- hacon ..., or give HOST:PORT of the cluster's head, such as "
            "10.0.0.1:6379."
        )
    if address == "auto":
        try:
            address = str(ray._private.services.canonicalize_bootstrap_address_or_die(address))
        except ConnectionError as error:  # there is none, or there are several
            raise InputError(f"RAY_ADDRESS='auto' does not say which Ray ({str(error)[:200]}); {remedy}.") from None
    client = address.startswith("ray://")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise InputError(
            f"RAY_ADDRESS='{address}' is no address; write HOST:PORT of the cluster's head, such as 10.0.0.1:6379, or "
            "auto."
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_SECONDS / 3):
            pass
        if not client:
            # In a process of its own, since Ray's client cannot be told to give up. -P: not somebody's ray.py.
            asked = [sys.executable, "-P", "-c", _ASK, address]
            subprocess.run(asked, check=True, capture_output=True, text=True, timeout=_ANSWER_SECONDS)
    except (OSError, OverflowError, subprocess.TimeoutExpired):
        raise InputError(f"No Ray answers at RAY_ADDRESS='{address}'; {remedy}.") from None
    except subprocess.CalledProcessError as error:
        why = (error.stderr.strip().splitlines() or ["no reason given"])[-1][:200]
        raise InputError(f"The Ray at RAY_ADDRESS='{address}' refuses ({why}); {remedy}.") from None
    return {"address": address, "runtime_env": {"env_vars": _QUIET}}


def _check_seen_everywhere(store: Location, say: Callable[[str], None]) -> None:
    """Raise InputError if the store is a directory that some node does not share."""
    if ray.cluster_resources().get(AUTOSCALED_GPUS):
        say(f"the store '{store.show()}' is a directory, which nodes that start later must see too; --store takes S3")
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) == 1:
        return
    probe, look = f".seen-{uuid.uuid4().hex[:8]}", ray.remote(num_cpus=0)(_sees)
    on = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
    store.write_bytes(probe, b"hacon")
    try:
        seen = ray.get([look.options(scheduling_strategy=node).remote(store, probe) for node in on])
    finally:
        store.delete_file(probe)
    blind = [node["NodeManagerHostname"] for node, sees in zip(nodes, seen, strict=True) if not sees]
    if blind:
        raise InputError(
            f"The store '{store.show()}' is a directory that {len(blind)} of {counted(len(nodes), 'node')} do not see "
            f"('{blind[0]}' is one); give one on S3 with --store s3://BUCKET/PREFIX, or a folder that all nodes mount."
        )


def _sees(store: Location, name: str) -> bool:
    return store.is_file(name)


def quieten() -> None:
    """Show only warnings and errors of Ray's libraries. Every process that runs them must call this."""
    settle_home()  # of a node
    for library in ("ray.data", "ray.train"):
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)  # that there are no bars: we know


def _embedded() -> dict[str, Any]:
    """Arguments of an embedded Ray. Its processes inherit this one's environment."""
    os.environ.update(_QUIET)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # A single machine is not preempted.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    # A process takes seconds to import its libraries, so idle ones are kept for the next stage.
    os.environ.setdefault("RAY_num_workers_soft_limit", "8")
    os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", "120000")
    # Two logical CPUs at least, so that reading and computing never wait for each other's slot.
    # "local": not to join a Ray that somebody else has started on this machine.
    return {
        "address": _LOCAL,
        "num_cpus": max(2, cores()),
        "include_dashboard": False,
        "_temp_dir": ray_folder(),
    }


def gpus() -> int:
    """GPUs that a stage can rely on: those in the cluster, or those that its autoscaler can start."""
    have = ray.cluster_resources()
    return int(max(have.get("GPU", 0), have.get(AUTOSCALED_GPUS, 0)))


def gpus_now() -> int:
    """GPUs in the cluster as it stands."""
    return int(ray.cluster_resources().get("GPU", 0))


def cpus() -> float:
    """CPUs in the cluster as it stands."""
    return float(ray.cluster_resources().get("CPU", 0))


def only_this_machine() -> bool:
    """Whether Ray has only this machine, without a GPU."""
    return gpus() == 0 and sum(node["Alive"] for node in ray.nodes()) == 1 and ray.cluster_resources().get("CPU", 0) > 0


def _resources() -> str:
    have = ray.cluster_resources()
    nodes = len(ray.nodes())
    units = [counted(int(have.get(kind, 0)), kind) for kind in ("CPU", "GPU")]
    return ", ".join([counted(nodes, "node"), *units])
