"""Turns a worker's failure into the error that the driver raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ray.exceptions import RayError

from pipeline.errors import InputError, StoreError

Result = TypeVar("Result")


def bad_input_as_itself(call: Callable[[], Result]) -> Result:
    """Run ``call``. An InputError of a worker is raised as itself, without the worker's traceback."""
    try:
        return call()
    except (RayError, InputError) as error:
        raise bad_input(error) or error from None


def bad_input(error: BaseException) -> InputError | None:
    """The InputError that caused a failure, or None."""
    chain: list[BaseException | None] = [error]
    for each in chain:
        # Not Ray's wrapper of one, whose message is a traceback.
        if isinstance(each, InputError) and type(each) in (InputError, StoreError):
            return each
        if each is not None:
            # Ray's causes, Python's, and those of Ray Train's workers.
            chain += [getattr(each, "cause", None), each.__cause__, *getattr(each, "worker_failures", {}).values()]
    return None
