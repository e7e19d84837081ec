"""Collectives that are no-ops on one process, so that nobody else asks for the world size."""

from __future__ import annotations

import inspect
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as torch_dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

_PARAMETERS = inspect.signature(DistributedDataParallel).parameters
_OWN_BUFFERS: dict[str, Any] = {
    # The second was the first's name before torch 2.13.
    "forward_sync_buffers" if "forward_sync_buffers" in _PARAMETERS else "broadcast_buffers": False
}
"""Each worker's batch norms see their own splits; ``moco.train`` merges them once an epoch."""


def rank() -> int:
    """This process's number, 0 when alone."""
    return torch_dist.get_rank() if torch_dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes, 1 when alone."""
    return torch_dist.get_world_size() if torch_dist.is_initialized() else 1


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if world_size() > 1:
        torch_dist.all_reduce(tensor)
    return tensor


def gather_rows(local: Tensor, rows: list[int]) -> Tensor:
    """Rows of all processes, in the order of their ranks.

    Args:
        local: (rows[rank], ...).
        rows: how many rows each process holds.
    """
    if world_size() == 1:
        return local
    most = max(rows)
    padded = torch.zeros(most, *local.shape[1:], dtype=local.dtype, device=local.device)
    padded[: len(local)] = local
    parts = [torch.empty_like(padded) for _ in rows]
    torch_dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, rows, strict=True)])


def data_parallel(module: nn.Module) -> nn.Module:
    """``module`` with gradients averaged over the processes in the backward pass."""
    if world_size() == 1:
        return module
    return DistributedDataParallel(module, **_OWN_BUFFERS)


def gradients_shared(module: nn.Module, now: bool) -> AbstractContextManager[None]:
    """A block of forward and backward of ``data_parallel``'s module; gradients only add up here unless ``now``."""
    return nullcontext() if now or not isinstance(module, DistributedDataParallel) else module.no_sync()
