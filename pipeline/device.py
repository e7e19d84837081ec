"""Choose device and precision once, and say why."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import sysconfig
from collections import deque
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from pipeline.errors import InputError
from pipeline.machine import free_memory

Given = ParamSpec("Given")
Found = TypeVar("Found")


def choose_precision(wanted: str, device: torch.device) -> tuple[torch.dtype, str]:
    """The dtype of the matrix work, and the reason.

    Left to choose, a CPU takes float32 even where it has bfloat16 units: images of 28 px train no faster with them
    (docs/dev/log.md; larger ones were not tried), and features are then those of any other CPU, to float32's rounding.

    Raises:
        InputError: bfloat16 on a device that would only emulate it.
    """
    if wanted == "bfloat16" and not _native_bfloat16(device):
        raise InputError(
            f"pretrain.precision=bfloat16 would be emulated on this {device.type}, many times slower; use float32."
        )
    if wanted == "float32":
        return torch.float32, "float32 (asked for)"
    if wanted == "auto" and device.type == "cpu":
        return torch.float32, "float32 (no slower on a CPU)"
    if not _native_bfloat16(device):
        return torch.float32, f"float32 ({device.type} has no bfloat16)"
    return torch.bfloat16, "bfloat16 autocast"


def autocast(device: torch.device, dtype: torch.dtype) -> contextlib.AbstractContextManager[None]:
    """Autocast to ``dtype``; nothing for float32."""
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


@cache
def constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """``values`` on ``device``, to stay there: sent anew in every step, they would make the host wait for it."""
    with torch.inference_mode(False):  # whoever asks first
        return torch.tensor(values, device=device)


@cache
def why_not_compiled() -> str | None:
    """What keeps Triton from compiling kernels here, as the middle of a sentence; None where it can."""
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if not os.environ.get("CC") and not shutil.which("clang") and not shutil.which("gcc"):
        return "there is no C compiler (on Debian and Ubuntu: gcc)"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python's headers are not there (on Debian and Ubuntu: python3-dev)"
    return None


def fused(function: Callable[Given, Found]) -> Callable[Given, Found]:
    """``function``, whose first argument is a tensor; on a GPU, where that can be, compiled into a few kernels."""

    @cache
    def compiled() -> Callable[Given, Found]:
        return torch.compile(function, dynamic=True)

    @wraps(function)
    def run(*given: Given.args, **named: Given.kwargs) -> Found:
        on_gpu = isinstance(given[0], Tensor) and given[0].is_cuda
        return (compiled() if on_gpu and why_not_compiled() is None else function)(*given, **named)

    return run


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """``tensor`` on ``device``, without waiting for the copy."""
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


class Pace:
    """Keeps the host at most two batches ahead of ``device``: what it pins for one is free once that is copied."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._sent: deque[torch.cuda.Event] = deque()

    def sent(self) -> None:
        """Call it when a batch's copies are under way."""
        if self._device.type == "cuda":
            self._sent.append(torch.cuda.current_stream(self._device).record_event())
            if len(self._sent) > 2:
                self._sent.popleft().synchronize()


def free_bytes(device: torch.device) -> int:
    """Memory that a pool could take on ``device``."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory()


def _native_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    features = torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else ""
    return "AMX" in features or bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())
