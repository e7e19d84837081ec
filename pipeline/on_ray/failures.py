"""A worker's failure, as the driver should raise it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ray.exceptions import RayError

from pipeline.errors import InputError

Result = TypeVar("Result")


def bad_input_as_itself(call: Callable[[], Result]) -> Result:
    """``call``; bad input that a worker met is raised here as itself, without the worker's traceback."""
    try:
        return call()
    except (RayError, InputError) as error:
        raise bad_input(error) or error from None


def bad_input(error: BaseException) -> InputError | None:
    """The bad input that a failure comes from, if it does."""
    chain: list[BaseException | None] = [error]
    for each in chain:
        if type(each) is InputError:  # Ray's own wrapping is one of these too, with a traceback for a message
            return each
        if each is not None:
            # Ray's causes, Python's, and those of Ray Train's workers.
            chain += [getattr(each, "cause", None), each.__cause__, *getattr(each, "worker_failures", {}).values()]
    return None
