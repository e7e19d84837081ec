"""What a process may take, on machines and in containers that are made of files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.machine import cores, free_memory

MEMINFO = """MemTotal:       24000000 kB
MemFree:          100000 kB
MemAvailable:   20000000 kB
HugePages_Total:       0
"""


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    "versions", [("memory.", "max", "current", ""), ("memory/memory.", "limit_in_bytes", "usage_in_bytes", "total_")]
)
def test_a_container_allows_what_its_limit_leaves(tmp_path: Path, versions: tuple[str, ...]) -> None:
    place, limit, use, total = versions
    group = f"sys/fs/cgroup/{place}"
    stat = f"anon 600\n{total}inactive_file 300\n"
    files = {f"{group}{limit}": "1000\n", f"{group}{use}": "900\n", f"{group}stat": stat}
    assert free_memory(machine(tmp_path, files)) == 1000 - 900 + 300
    # Above what the machine has, a limit is none.
    assert free_memory(machine(tmp_path, files | {f"{group}{limit}": "9223372036854771712\n"})) == 20_000_000 * 1024
    assert free_memory(machine(tmp_path, files | {f"{group}{use}": "1400\n"})) == 0


def test_caches_of_files_are_free(tmp_path: Path) -> None:
    assert free_memory(machine(tmp_path, {})) == 20_000_000 * 1024
    assert free_memory(machine(tmp_path, {"sys/fs/cgroup/memory.max": "max\n"})) == 20_000_000 * 1024


@pytest.mark.parametrize(
    ("files", "allowed"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "6400000 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({}, 8),
    ],
)
def test_a_container_allows_a_share_of_the_cores(
    tmp_path: Path, files: dict[str, str], allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    assert cores(machine(tmp_path, {f"sys/fs/cgroup/{name}": text for name, text in files.items()})) == allowed


def test_this_machine() -> None:
    assert 0 < free_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
