"""Results in order, whatever is ready first; never more under way than was said."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from pipeline.ahead import map_ahead


class Count:
    """Calls under way, or not yet taken; the most there were."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self.lock = threading.Lock()

    def add(self, by: int) -> None:
        with self.lock:
            self.now += by
            self.most = max(self.most, self.now)


@pytest.mark.parametrize(("threads", "ahead"), [(1, 0), (1, 3), (2, 2), (4, 8)])
def test_results_come_in_order_and_few_are_ahead(threads: int, ahead: int) -> None:
    held = Count()

    def parts() -> Iterator[int]:
        for number in range(20):
            held.add(1)
            yield number

    def work(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number**2

    found = []
    for each in map_ahead(work, parts(), threads=threads, ahead=ahead):
        found.append(each)
        held.add(-1)
    assert found == [number**2 for number in range(20)]
    assert held.most == ahead + 1


def test_large_parts_are_taken_by_themselves() -> None:
    held = Count()

    def work(size: int) -> int:
        held.add(size)
        return size

    sizes = [4, 4, 50, 1, 1, 1, 9, 2]
    for each in map_ahead(work, sizes, threads=4, ahead=8, size=float, most=10):
        held.add(-each)
    assert held.most <= 4 + 4 + 50, "two small ones lie beside a large one, and nothing is begun after it"


def test_a_failure_comes_in_its_turn_and_what_follows_is_not_begun() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        return 1 // (number - 3)

    stream = map_ahead(work, range(100), threads=1, ahead=1)
    with pytest.raises(ZeroDivisionError):
        list(stream)
    assert max(begun) <= 5


def test_closed_early_it_begins_nothing_more() -> None:
    begun: list[int] = []
    stream = map_ahead(lambda number: begun.append(number) or number, range(100), threads=1, ahead=4)
    assert next(iter(stream)) == 0
    stream.close()  # type: ignore[attr-defined]
    assert len(begun) <= 6
