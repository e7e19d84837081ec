"""What, how far, how long still: one line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

_INTERVAL_SECONDS = 10.0


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
            left = (now - self._began) / (self._done - self._first) * (self._total - self._done)
            share = 100 * self._done / self._total
            self._say(f"{self._what} {share:.0f}%{detail}, about {duration(left)} left")
