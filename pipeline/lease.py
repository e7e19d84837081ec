"""One job at a time at a run: a lease with a fencing number.

``runs/<run>/leases`` holds ``000007.json``, written once by who took lease 7, and ``000007.beat``, written again and
again while it lives. Numbers only go up. Of two jobs that want the next number one wins, by the conditional put. A
holder that no longer beats is dead, and the next number is free. All ages are differences of the store's own times,
so no two machines' clocks are compared.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.errors import HeldError
from pipeline.storage import Location

BEAT_SECONDS = 15.0
DEAD_SECONDS = 120.0
"""Without a beat for so long a holder is dead."""


@dataclass(frozen=True)
class Lease:
    """A lease that this process holds, or that another holds."""

    folder: str
    number: int
    """The fencing number."""
    host: str
    process: int
    since: str
    """UTC, by the holder's clock."""
    job: str
    token: str
    machine: str | None = None
    """Of the holder's process numbers: a boot of a machine and a namespace in it. None: not known."""

    @property
    def mark(self) -> str:
        """For the names of what is written under this lease."""
        return f"{self.number:06d}-{self.token}"

    @property
    def words(self) -> str:
        """Who holds it, since when, where."""
        return f"{self.job}, process {self.process} on '{self.host}', since {self.since}"


@contextmanager
def leased(store: Location, run: str, job: str, beat: float = BEAT_SECONDS) -> Iterator[Lease]:
    """Hold the run's lease in the block.

    Raises:
        HeldError: another job that lives holds it.
    """
    lease = _take(store, f"runs/{run}/leases", job, run)
    stop = threading.Event()

    def beats() -> None:
        while not stop.wait(beat):
            with suppress(OSError):  # a beat that the store refuses comes with the next; one lost beat is no death
                _beat(store, lease)

    thread = threading.Thread(target=beats, name="lease", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        stop.set()
        thread.join()
        store.delete_file(_beat_file(lease))


def still_ours(store: Location, lease: Lease) -> bool:
    """Whether nobody has taken a later lease, since we were thought dead."""
    return max(_numbers(store, lease.folder), default=0) == lease.number


def holder(store: Location, run: str) -> Lease | None:
    """Who holds the run's lease and lives."""
    folder = f"runs/{run}/leases"
    return _look(store, folder)[0] if store.exists(folder) else None


def _take(store: Location, folder: str, job: str, run: str) -> Lease:
    living, numbers = _look(store, folder)
    if living is None:
        mine = Lease(
            folder=folder,
            # Next to the one that was seen dead, not to the newest: who takes it meanwhile keeps it.
            number=max(numbers, default=0) + 1,
            host=socket.gethostname(),
            process=os.getpid(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            job=job,
            token=uuid.uuid4().hex[:8],
            machine=_machine(),
        )
        # The beat first: a number without one is a dead holder's.
        _beat(store, mine)
        if store.put_if_absent(_file(folder, mine.number), asdict(mine)):
            for number in numbers:  # numbers must not begin again, so the highest stays
                store.delete_file(_file(folder, number))
                for name, _, _ in store.files(folder):
                    if name.startswith(f"{number:06d}") and name.endswith(".beat"):
                        store.delete_file(f"{folder}/{name}")
            return mine
        store.delete_file(_beat_file(mine))
        living, _ = _look(store, folder)
    words = "another job that began at the same moment" if living is None else living.words
    raise HeldError(f"Run '{run}' is in the hands of {words}; start this again when that is done.")


def _look(store: Location, folder: str) -> tuple[Lease | None, list[int]]:
    """(The holder of the highest number, if it lives; all numbers, seen before that was found out)."""
    numbers = _numbers(store, folder)
    found = store.read_json(_file(folder, max(numbers))) if numbers else None
    lease = None if found is None else Lease(**found)
    return (lease if lease is not None and _lives(store, lease) else None), numbers


def _lives(store: Location, lease: Lease) -> bool:
    if lease.machine is not None and lease.machine == _machine() and not _runs(lease.process):
        return False  # killed here: no need to wait for its beats
    probe = f"{lease.folder}/.now-{uuid.uuid4().hex[:8]}"
    store.write_bytes(probe, b"")
    try:
        times = {name: when for name, _, when in store.files(lease.folder)}
    finally:
        store.delete_file(probe)
    now, last = times.get(probe.rpartition("/")[2]), times.get(_beat_file(lease).rpartition("/")[2])
    return last is not None and now is not None and (now - last) / 1e9 <= DEAD_SECONDS


def _numbers(store: Location, folder: str) -> list[int]:
    return sorted(int(name[:6]) for name, _, _ in store.files(folder) if name.endswith(".json"))


def _file(folder: str, number: int) -> str:
    return f"{folder}/{number:06d}.json"


def _beat_file(lease: Lease) -> str:
    return f"{lease.folder}/{lease.mark}.beat"


def _beat(store: Location, lease: Lease) -> None:
    store.write_bytes(_beat_file(lease), str(time.time()).encode())


def _machine() -> str | None:
    """What makes a process number mean one process: the boot and the namespace. None where the system has neither."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return None


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
