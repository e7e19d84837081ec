"""How a command ends: after bad input, a signal, a closed pipe or a full disk in one sentence, and with which code."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from pipeline.errors import HeldError, InputError

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
_FULL = (errno.ENOSPC, errno.EDQUOT)


class _Stopped(KeyboardInterrupt):
    """A signal that ends processes, raised as Ctrl-C is: every ``finally`` runs, and nobody takes it for a failure."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def ended(name: str, work: Callable[[], int | None]) -> int:
    """Call ``work``. Returns its exit code, 0 for none.

    After a sentence it is 2 for bad input, 4 where another job is at the run, 130 for Ctrl-C, and 128 + N for signal N
    (SIGTERM: 143). It is 141, as for any command in a pipe, where nobody reads any longer. A bug raises.

    Args:
        name: of the command, to begin a sentence with.
    """
    try:
        try:
            with _signals():
                code = work()
                sys.stdout.flush()
        except HeldError as error:
            return _say(name, str(error), 4)
        except InputError as error:
            return _say(name, str(error), 2)
        except _Stopped as stop:
            signal_name = signal.Signals(stop.number).name
            return _say(name, f"ended by {signal_name}; the same command goes on from what is done.", 128 + stop.number)
        except KeyboardInterrupt:
            return _say(name, "interrupted; the same command goes on from what is done.", 130)
        except BrokenPipeError:
            if not _closed():
                raise
            return 128 + signal.SIGPIPE
        except OSError as error:
            if error.errno not in _FULL:
                raise
            place = error.filename or tempfile.gettempdir()
            return _say(name, f"The disk of '{place}' is full; free some space there, or set TMPDIR.", 2)
    except BrokenPipeError:  # of the sentence, or of something else
        if not _closed():
            raise
        return 128 + signal.SIGPIPE
    return code or 0


def _say(name: str, words: str, code: int) -> int:
    print(f"{name}: {words}", file=sys.stderr, flush=True)
    return code


def _closed() -> bool:
    """Whether nobody reads our output any longer. If so it goes nowhere, so that Python's last flush is silent."""
    closed = False
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # no file of the system, as in a test
            watched = select.poll()
            watched.register(stream.fileno(), select.POLLOUT)
            if any(event & select.POLLERR for _, event in watched.poll(0)):
                closed = True
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
    return closed


@contextmanager
def _signals() -> Iterator[None]:
    """Signals that end a process raise ``_Stopped``, the first time; who comes twice ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # One that is ignored stays so: nohup.
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    ours = [number for number in _SIGNALS if before[number] == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])


def _stop(number: int, _: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    raise _Stopped(number)
