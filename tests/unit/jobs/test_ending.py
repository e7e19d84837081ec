"""How a command ends: its exit code, and one sentence instead of a traceback."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.ending import ended
from pipeline.errors import InputError, StoreError
from pipeline.progress import counted
from pipeline.publish import Stage
from pipeline.results import Ingested
from pipeline.storage import Location

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_in_a_sentence(number: signal.Signals, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    cleaned = list[str]()

    def work() -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            cleaned.append("up")

    before = signal.getsignal(number)
    assert ended("hacon select", work) == code and cleaned == ["up"] and signal.getsignal(number) == before
    said = capsys.readouterr().err
    assert said == f"hacon select: ended by {number.name}; the same command goes on from what is done.\n"


def test_codes_of_other_ends(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(error: BaseException) -> int:
        def work() -> None:
            raise error

        return ended("hacon", work)

    assert ended("hacon", lambda: None) == 0 and ended("hacon", lambda: 3) == 3
    assert fails(InputError("no.")) == 2 and fails(KeyboardInterrupt()) == 130
    assert fails(OSError(errno.ENOSPC, "full", "/tmp/x")) == 2
    assert "The disk of '/tmp/x' is full" in capsys.readouterr().err
    with pytest.raises(BrokenPipeError):  # not of our output
        fails(BrokenPipeError())


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["select", "--help"], ["runs", "--store", "."]])
def test_nobody_reads_any_longer(arguments: list[str], tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "jobs.cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=environment)
    os.close(write)
    assert done.returncode in (0, 141) and done.stderr == ""  # 0: argparse takes no notice


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_store_without_room_is_named(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    store = Location(str(tmp_path))
    monkeypatch.setattr(os, "fsync", full)
    for write in (lambda: store.write_json("a/b.json", {}), lambda: store.put_if_absent("c.json", {})):
        with pytest.raises(StoreError, match=f"The store '{tmp_path}' .*; the same command goes on from there"):
            write()
    assert store.files() == []


def test_a_stage_without_room_stays_begun(tmp_path: Path) -> None:
    """Its checkpoint may lie there, which other settings must not go on from."""
    store = Location(str(tmp_path))

    def work(_: str) -> Ingested:
        raise StoreError("full.")

    with pytest.raises(StoreError):
        Stage(store, "pools/p", Ingested, {"a": 1}, "x.").run(work, print)
    assert store.is_file("pools/p/settings.json")


def test_one_is_singular() -> None:
    assert [counted(number, "image") for number in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
