"""Counter-based random numbers: a draw follows from its key alone, never from worker state.

A key here names a stream of random numbers. It is no image's key.

The generator is SplitMix64 (Steele, Lea & Flood 2014), vectorised over samples in torch's wrapping
int64 arithmetic. NumPy's and torch's own counter-based generators take one key at a time; here
every sample has its own. Same key, same number: on any worker, any device, in any order.
"""

from __future__ import annotations

import torch
from torch import Tensor

_GAMMA = 0x9E3779B97F4A7C15 - (1 << 64)
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)


def stream_keys(seed: int, epoch: int | Tensor, repeat: Tensor, sample_id: Tensor, view: int | Tensor) -> Tensor:
    """One key a sample and view, from (seed, epoch, repeat, sample_id, view).

    Args:
        repeat: (n,) int64, which repeat of the epoch the draw belongs to.
        sample_id: (n,) int64.
        epoch, view: of all, or a tensor: one number, or (n,) int64.

    Returns:
        (n,) int64.
    """
    key = torch.full_like(sample_id, seed)
    for part in (epoch, repeat, sample_id, view):
        # A number is filled in where it is needed: one sent from the host would make the host wait for the device.
        tensor = part if isinstance(part, Tensor) else torch.full_like(sample_id, part)
        key = splitmix64(key ^ splitmix64(tensor + _GAMMA))
    return key


def uniform(keys: Tensor, draws: int) -> Tensor:
    """The first ``draws`` numbers of each key's stream.

    Returns:
        (n, draws) float32 in [0, 1): multiples of 2**-24, so that 1 is never rounded to.
    """
    counter = torch.arange(1, draws + 1, device=keys.device, dtype=torch.int64)
    bits = splitmix64(keys[:, None] + counter * _GAMMA)
    return _shift_right(bits, 40).to(torch.float32) * 2.0**-24


def splitmix64(state: Tensor) -> Tensor:
    """SplitMix64's output function, elementwise on int64 bit patterns."""
    state = (state ^ _shift_right(state, 30)) * _MIX_1
    state = (state ^ _shift_right(state, 27)) * _MIX_2
    return state ^ _shift_right(state, 31)


def _shift_right(value: Tensor, bits: int) -> Tensor:
    """Logical shift: torch's own on int64 copies the sign."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
