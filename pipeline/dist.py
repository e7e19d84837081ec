"""Collectives that are no-ops on one process, so that nobody else asks for the world size."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as torch_dist
from torch import Tensor, nn


def rank() -> int:
    """This process's number, 0 when alone."""
    return torch_dist.get_rank() if torch_dist.is_initialized() else 0


def world_size() -> int:
    """Number of processes, 1 when alone."""
    return torch_dist.get_world_size() if torch_dist.is_initialized() else 1


def alone() -> bool:
    """Whether there is nobody to send anything to."""
    return world_size() == 1


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if not alone():
        torch_dist.all_reduce(tensor)
    return tensor


def everywhere(condition: bool, device: torch.device) -> bool:
    """Whether it holds in all processes; all of them get the same answer."""
    return int(all_reduce_sum(torch.tensor(int(condition), device=device))) == world_size()


def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """The first process's values, in place, on every process."""
    if not alone():
        for tensor in tensors:
            torch_dist.broadcast(tensor, 0)


def gather_rows(local: Tensor, rows: list[int]) -> Tensor:
    """Rows of all processes, in the order of their ranks.

    Args:
        local: (rows[rank], ...).
        rows: how many rows each process holds.
    """
    if alone():
        return local
    most = max(rows)
    padded = torch.zeros(most, *local.shape[1:], dtype=local.dtype, device=local.device)
    padded[: len(local)] = local
    parts = [torch.empty_like(padded) for _ in rows]
    torch_dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, rows, strict=True)])


def exchange_rows(rows: Tensor, send: list[int], receive: list[int]) -> Tensor:
    """A message from every process to every one.

    Args:
        rows: (sum of send, ...), in the order of the processes that they are for.
        send: how many are for each; receive: how many each has for this one.

    Returns:
        (sum of receive, ...), in the order of the processes that they are from.
    """
    if alone():
        return rows
    arrived = rows.new_empty(sum(receive), *rows.shape[1:])
    torch_dist.all_to_all_single(arrived, rows, receive, send)
    return arrived


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Every gradient becomes its sum over the processes: one message for all of them.

    Not DistributedDataParallel: its hooks run within the backward pass, which could then not be recorded as a CUDA
    graph (``moco.fast.cuda_graph``). Launching its kernels one by one takes several times as long as what they compute.
    """
    if alone():
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    torch_dist.all_reduce(flat)
    for gradient, summed in zip(gradients, flat.split([each.numel() for each in gradients]), strict=True):
        gradient.copy_(summed.view(gradient.shape))
