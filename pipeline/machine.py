"""What this process may use of its machine."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CONTAINERS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
)
"""Control groups, version 2 and 1: limit, use, and where it says how much of the use is only a cache of files."""
_SHARES = (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))
"""Where they say how much of all cores' time, likewise: microseconds of so many."""


def cores(root: Path = Path("/")) -> int:
    """CPU cores that this process may use; a container or taskset may allow fewer than there are."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for names in _SHARES:
        group = root / "sys/fs/cgroup"
        try:
            quota, period = (int(word) for name in names for word in (group / name).read_text().split())
        except (OSError, ValueError):  # no such version, or "max": no limit
            continue
        if quota > 0:  # -1 is no limit
            here = min(here, math.ceil(quota / period))
    return here


def free_memory(root: Path = Path("/")) -> int:
    """Bytes that this process could still take of its machine's memory, or of its container's where that is less.

    A cache of files is free, since it makes room; after an ingest most of a machine can be one.
    """
    try:
        facts = _numbers(root / "proc/meminfo")
    except OSError:  # not Linux
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free = 1024 * facts["MemAvailable:"]
    for limit, use, statistics, cache in _CONTAINERS:
        group = root / "sys/fs/cgroup"
        try:
            most, used = (int((group / name).read_text()) for name in (limit, use))
            free = min(free, most - used + _numbers(group / statistics)[cache])
        except (OSError, ValueError):  # no such version, or "max": no limit
            continue
    return max(0, free)


def _numbers(file: Path) -> dict[str, int]:
    """Of a file of lines that are a name and a number."""
    return {line[0]: int(line[1]) for line in map(str.split, file.read_text().splitlines())}
