"""One call, here or as one task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import ray

from pipeline.on_ray.failures import bad_input_as_itself
from pipeline.on_ray.session import only_this_machine, quieten

Result = TypeVar("Result")


def where_the_gpu_is(work: Callable[..., Result], *arguments: Any, gpu: bool) -> Result:
    """Call ``work(*arguments)``: in this process if there is only this machine, else as a Ray task.

    A task runs where the GPU is, not where the job was submitted.

    Args:
        gpu: whether the task takes one.

    Raises:
        InputError: bad input that the task met.
    """
    if only_this_machine():
        return work(*arguments)
    task = ray.remote(num_cpus=0.5, num_gpus=1 if gpu else 0, max_retries=1)(_quietly)
    done: Result = bad_input_as_itself(lambda: ray.get(task.remote(work, *arguments)))
    return done


def _quietly(work: Callable[..., Result], *arguments: Any) -> Result:
    quieten()
    return work(*arguments)
