"""One job at a time at a run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pipeline import lease as leases
from pipeline.errors import HeldError
from pipeline.lease import Lease, holder, leased, still_ours
from pipeline.storage import Location


def test_the_second_is_told_who_is_at_it(place: Location) -> None:
    with leased(place, "scans", "hacon reselect") as mine:
        assert still_ours(place, mine) and holder(place, "scans") == mine
        words = f"hacon reselect, process {os.getpid()} on '.*', since 20"
        with pytest.raises(HeldError, match=words), leased(place, "scans", "hacon reselect"):
            pass
        with leased(place, "others", "hacon reselect"):
            pass
    assert holder(place, "scans") is None
    with leased(place, "scans", "hacon reselect") as later:
        assert later.number == mine.number + 1
        assert not still_ours(place, mine)
    assert len(place.files("runs/scans/leases")) == 1, "nothing grows"


def test_of_many_at_once_one_gets_it(place: Location) -> None:
    got, told, start = [], [], threading.Barrier(8)
    release = threading.Event()

    def take() -> None:
        start.wait()
        try:
            with leased(place, "scans", "test") as lease:
                got.append(lease.number)
                release.wait(20)
        except HeldError as error:
            told.append(str(error))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    while len(got) + len(told) < 8:
        time.sleep(0.01)
    release.set()
    for thread in threads:
        thread.join()
    assert len(got) == 1 and len(told) == 7


@pytest.mark.parametrize("before", [0, 3])
def test_who_looked_before_another_took_it_does_not_take_the_next(
    place: Location, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """The other takes it between our look and our hand: the number after its would be free, and is not ours."""
    for _ in range(before):
        with leased(place, "scans", "earlier"):
            pass
    plain, others = leases._look, []

    def slow(store: Location, folder: str) -> tuple[Lease | None, list[int]]:
        seen = plain(store, folder)
        if not others:
            monkeypatch.setattr(leases, "_look", plain)
            others.append(leases._take(store, folder, "the other", "scans"))
        return seen

    monkeypatch.setattr(leases, "_look", slow)
    with pytest.raises(HeldError, match="the other, process"), leased(place, "scans", "test"):
        pass
    assert still_ours(place, others[0]) and holder(place, "scans") == others[0]


def _hold(uri: str) -> None:
    with leased(Location(uri), "scans", "killed"):
        time.sleep(60)


def test_who_is_killed_here_holds_nothing(tmp_path: Path) -> None:
    store = Location(str(tmp_path))
    process = multiprocessing.get_context("spawn").Process(target=_hold, args=(store.uri,))
    process.start()
    while holder(store, "scans") is None:
        time.sleep(0.05)
    with pytest.raises(HeldError, match="killed, process"), leased(store, "scans", "test"):
        pass
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with leased(store, "scans", "test") as mine:
        assert mine.number == 2


def test_who_beats_no_longer_elsewhere_is_dead(place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Lease("runs/scans/leases", 4, "node-7", 1, "2026-12-01T00:00:00+00:00", "hacon reselect", "token", "boot:1")
    place.write_json("runs/scans/leases/000004.json", asdict(other))
    leases._beat(place, other)
    assert holder(place, "scans") == other
    with pytest.raises(HeldError, match="on 'node-7'"), leased(place, "scans", "test"):
        pass
    monkeypatch.setattr(leases, "DEAD_SECONDS", -1.0)
    with leased(place, "scans", "test") as mine:
        assert mine.number == 5 and not still_ours(place, other)
    assert holder(place, "scans") is None


def test_a_beat_keeps_it_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Location(str(tmp_path))
    monkeypatch.setattr(leases, "DEAD_SECONDS", 0.5)
    monkeypatch.setattr(leases, "_machine", lambda: None)
    with leased(store, "scans", "test", beat=0.05) as mine:
        time.sleep(1)
        assert holder(store, "scans") == replace(mine)
