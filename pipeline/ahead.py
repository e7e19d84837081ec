"""``map`` over threads, a few calls ahead of the caller."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Found = TypeVar("Found")


def map_ahead(
    work: Callable[[Part], Found],
    parts: Iterable[Part],
    *,
    threads: int,
    ahead: int,
    size: Callable[[Part], float] = lambda _: 0,
    most: float = math.inf,
) -> Iterator[Found]:
    """``work`` of every part, on ``threads`` threads, in the order of the parts.

    Args:
        ahead: calls under way, or done and not yet taken, beside the one that is waited for.
        size: of a part; as soon as those under way have ``most`` together, no more are begun.
    """
    under_way: deque[tuple[Future[Found], float]] = deque()
    held = 0.0
    with ThreadPoolExecutor(threads, "ahead") as pool:
        try:
            for part in parts:
                under_way.append((pool.submit(work, part), size(part)))
                held += under_way[-1][1]
                while len(under_way) > ahead or (under_way and held >= most):
                    found, weight = under_way.popleft()
                    yield found.result()
                    held -= weight
            while under_way:
                yield under_way.popleft()[0].result()
        finally:
            for found, _ in under_way:
                found.cancel()
