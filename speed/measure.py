"""How everything here is timed: side by side, in turns, in one run; medians, and the spread beside them."""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from pipeline.machine import cores


@dataclass(frozen=True)
class Row:
    """One line of the table, with the figures behind it."""

    what: str
    measured: str
    goal: str
    met: bool | None
    """None: there was nothing to compare with here; ``measured`` says why."""
    details: list[tuple[str, str]] = field(default_factory=list)
    """(what, figure with its unit), listed below the table."""


def alternate(candidates: Mapping[str, Callable[[], Any]], rounds: int, *, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of every call: all candidates in turn, ``rounds`` times, so that a slow minute hits them all.

    Every other round goes backwards, so that none always follows the same other.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(warm_up + rounds):
        for name, call in list(candidates.items())[:: -1 if turn % 2 else 1]:
            began = time.perf_counter()
            call()
            if turn >= warm_up:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def ratio(seconds: Mapping[str, list[float]], slow: str, fast: str) -> float:
    """How many times as long ``slow`` takes as ``fast``: the median over the rounds, each round by itself."""
    return statistics.median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))


def speed(seconds: list[float], items: int) -> str:
    """Items a second: the median, and the slowest and fastest round."""
    each = sorted(items / value for value in seconds)
    return f"{statistics.median(each):,.0f}/s ({each[0]:,.0f} to {each[-1]:,.0f})"


@contextmanager
def stopwatch(places: Mapping[str, Iterable[tuple[Any, str]]]) -> Iterator[dict[str, float]]:
    """Seconds spent in some functions while the block runs, by name; on a CPU, where a call is done when it returns.

    Only calls of this thread count: what others do meanwhile takes no time of its own.

    Args:
        places: name -> (owner, attribute) of every function that counts under it.
    """
    spent, here = dict.fromkeys(places, 0.0), threading.get_ident()

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                if threading.get_ident() == here:
                    spent[name] += time.perf_counter() - began

        return wrapper

    with ExitStack() as stack:
        for name, functions in places.items():
            for owner, attribute in functions:
                stack.enter_context(patch.object(owner, attribute, timed(name, getattr(owner, attribute))))
        yield spent


def lacking(*modules: str) -> str | None:
    """A sentence where one of the peers is not installed."""
    absent = [module for module in modules if importlib.util.find_spec(module) is None]
    return f"{', '.join(absent)} not installed (make bench installs it)" if absent else None


def in_a_process_of_its_own(call: Callable[..., Any], *arguments: Any) -> tuple[Any, float, int]:
    """(result, seconds, peak resident bytes) of ``call`` in a fresh process; module-level functions only.

    The peak is what the call added to a process that had imported it.
    """
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_report, args=(send, call, arguments))
    process.start()
    send.close()
    try:
        return receive.recv()
    except EOFError:
        raise RuntimeError(f"{call.__qualname__} ended its process without a result") from None
    finally:
        process.join()


def measure_row(module: str) -> Row:
    """The row that a module of this folder measures. Here, since a fresh process cannot find what lies in __main__."""
    row: Row = importlib.import_module(f"speed.{module}").measure()
    return row


def hardware() -> str:
    """This machine, in words."""
    with open("/proc/cpuinfo") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    name = names[0] if names else platform.processor()
    return f"{cores()} core(s) of {name}, {memory:.0f} GiB, no GPU, Python {platform.python_version()}"


def _report(send: Any, call: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    before = peak_bytes()
    began = time.perf_counter()
    result = call(*arguments)
    send.send((result, time.perf_counter() - began, peak_bytes() - before))


def peak_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
