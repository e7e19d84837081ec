"""What, how far, how long still: one line now and then."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_INTERVAL_SECONDS = 10.0
_LISTENER: ContextVar[Callable[[int, int], None] | None] = ContextVar("listener", default=None)


def say(text: str) -> None:
    """One line with the time of day."""
    # Not print: Ray Train's workers log what is printed as well, and it would be said twice.
    sys.stdout.write(f"{time.strftime('%H:%M:%S')}  {text}\n")
    sys.stdout.flush()


def silent(_: str) -> None:
    """In place of ``say`` where nothing is to be said."""


def counted(number: int, thing: str) -> str:
    """Such as "1 image" or "2 images"."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def tell(done: int, total: int) -> None:
    """For long work that can tell: so many steps of so many are done. It is heard inside ``watched``, if at all."""
    listen = _LISTENER.get()
    if listen is not None:
        listen(done, total)


@contextmanager
def watched(what: str, say: Callable[[str], None]) -> Iterator[None]:
    """Say every ten seconds how far the work inside is, or how long it has run where it does not ``tell``.

    It listens to this thread only, and changes nothing for the work.
    """
    over = threading.Event()
    began = since = told = time.perf_counter()
    far = (0, 0)

    def listen(done: int, total: int) -> None:
        nonlocal far, since, told
        if total != far[1] or done < far[0]:
            since = told  # another part of the work began where the last one ended
        far, told = (done, total), time.perf_counter()

    def speak() -> None:
        while not over.wait(_INTERVAL_SECONDS):
            now, (done, total) = time.perf_counter(), far
            if 0 < done < total:
                say(f"{what} {_share(done, total, (now - since) / done)}")
            else:
                say(f"{what}: {duration(now - began)} so far")

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    before = _LISTENER.set(listen)
    try:
        yield
    finally:
        _LISTENER.reset(before)
        over.set()
        speaker.join()


def _share(done: int, total: int, seconds_each: float, detail: str = "") -> str:
    return f"{100 * done / total:.0f}%{detail}, about {duration(seconds_each * (total - done))} left"


def duration(seconds: float) -> str:
    """Seconds as a person says them: "40 s", "3.5 min", "2.1 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class Progress:
    """Counts steps and says, every ten seconds at most, how far it is and when it will end.

    Args:
        total: steps in all; ``done`` of them were done before (a resumed run).
    """

    def __init__(self, what: str, total: int, say: Callable[[str], None], done: int = 0) -> None:
        self._what, self._total, self._say = what, total, say
        self._done, self._first = done, done
        self._began = self._spoke = time.perf_counter()

    def advance(self, detail: str = "", by: int = 1) -> None:
        """One more step is done, or ``by`` more."""
        self._done += by
        now = time.perf_counter()
        if now - self._spoke >= _INTERVAL_SECONDS and self._done > self._first:
            self._spoke = now
            each = (now - self._began) / (self._done - self._first)
            self._say(f"{self._what} {_share(self._done, self._total, each, detail)}")
