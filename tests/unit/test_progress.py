"""Progress: one line every ten seconds at most, with share and remaining time by hand."""

from __future__ import annotations

import threading
import time

import pytest

from pipeline import progress
from pipeline.progress import Progress, duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (40.4, "40 s"),
        (99, "99 s"),
        (100, "1.7 min"),
        (210, "3.5 min"),
        (5999, "100.0 min"),
        (6000, "1.7 h"),
        (7560, "2.1 h"),
    ],
)
def test_durations_as_a_person_says_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


class Clock:
    """Stands in for the module ``time``."""

    def __init__(self) -> None:
        self.now = 1000.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that progress looks at; it moves when a test says so."""
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_a_line_every_ten_seconds_at_most(clock: Clock) -> None:
    said: list[str] = []
    steps = Progress("pretrain", 100, said.append)
    for _ in range(40):
        clock.now += 1
        steps.advance(", epoch 1/2")
    # After 10 s: 10 of 100 steps at 1 s a step, 90 s left; and so on.
    assert said == [
        "pretrain 10%, epoch 1/2, about 90 s left",
        "pretrain 20%, epoch 1/2, about 80 s left",
        "pretrain 30%, epoch 1/2, about 70 s left",
        "pretrain 40%, epoch 1/2, about 60 s left",
    ]


def test_fast_work_says_nothing(clock: Clock) -> None:
    said: list[str] = []
    steps = Progress("pretrain", 100, said.append)
    for _ in range(100):
        clock.now += 0.0999
        steps.advance()
    assert said == []


def test_slow_steps_are_all_told(clock: Clock) -> None:
    said: list[str] = []
    steps = Progress("embed", 3, said.append)
    for _ in range(3):
        clock.now += 600
        steps.advance()
    assert said == [
        "embed 33%, about 20.0 min left",
        "embed 67%, about 10.0 min left",
        "embed 100%, about 0 s left",
    ]


def test_steps_of_different_sizes(clock: Clock) -> None:
    said: list[str] = []
    rows = Progress("read", 1000, said.append)
    for count in (0, 100, 300):
        clock.now += 10
        rows.advance(by=count)
    assert said == ["read 10%, about 3.0 min left", "read 40%, about 45 s left"]


def test_a_resumed_run_is_timed_by_its_own_steps(clock: Clock) -> None:
    said: list[str] = []
    steps = Progress("pretrain", 100, said.append, done=80)
    clock.now += 10
    for _ in range(5):
        steps.advance()
    # The first of the five: 81 of 100, 10 s for the one step that was done here, 19 left.
    assert said == ["pretrain 81%, about 3.2 min left"]


def test_a_long_call_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_INTERVAL_SECONDS", 0.01)
    said: list[str] = []

    def wait_for(words: str) -> None:
        end = time.monotonic() + 30
        while not any(words in line for line in said) and time.monotonic() < end:
            time.sleep(0.001)
        assert any(words in line for line in said), said

    with progress.watched("K-means", said.append):
        wait_for("K-means: 0 s so far")
        progress.tell(3, 4)
        wait_for("K-means 75%, about 0 s left")
    count = len(said)
    progress.tell(4, 4)
    time.sleep(0.05)
    assert len(said) == count, "nothing is said afterwards"


def test_an_error_ends_the_watch() -> None:
    with pytest.raises(KeyError), progress.watched("query", print):
        raise KeyError
    assert "speak" not in [thread.name for thread in threading.enumerate()]
