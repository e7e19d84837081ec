"""The confidence accumulator at 100 million samples and 4 temperatures, allocated and updated in full.

Two epochs are played: batches of draws added, then the epoch folded in. A pool this large draws each image once
an epoch, so that mode is measured at all sizes; the general one (several draws an epoch) at the smaller sizes.
An epoch's ids are a stride that is prime to N, hence distinct and far apart, as a shuffle's are: a random
permutation would itself take 8 bytes a sample. All pages are touched when an epoch is folded.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

import torch

from pipeline.moco.confidence import ConfidenceAccumulator
from speed.measure import Row, in_a_process_of_its_own

TEMPERATURES = (0.2, 0.05, 0.01, 0.001)
STRIDE = 6_700_417
"""A prime that divides none of the sizes."""
BATCH = 4096
ROOM = 1.25
"""Free memory that a size needs, over its stated bytes."""


@dataclass(frozen=True)
class Played:
    size: int
    stated: int
    """Bytes a sample, by the formula."""
    held: int
    """Bytes a sample, of the tensors."""
    updates: float
    """Draws a second, all temperatures of each."""
    fold: float
    """Seconds to close an epoch."""


def measure(sizes: tuple[int, ...] = (1_000_000, 10_000_000, 100_000_000), batches: int = 2000) -> Row:
    details, largest = [], None
    for size in sizes:
        for repeats in (1, 2):
            need = stated(repeats) * size
            if repeats == 2 and size == sizes[-1]:
                continue
            name = f"{size:,} samples, {'one draw' if repeats == 1 else 'several draws'} an epoch"
            if need * ROOM > available():
                details.append((name, f"not run: {need / 1e9:.1f} GB, {available() / 1e9:.1f} GB are free"))
                continue
            played, _, peak = in_a_process_of_its_own(play, size, repeats, batches)
            details.append(
                (
                    name,
                    f"{played.held} bytes a sample as stated, {peak / size:.0f} at the peak ({peak / 1e9:.2f} GB); "
                    f"{played.updates / 1e6:.2f} M draws/s; {played.fold:.2f} s to close an epoch; "
                    f"all-reduce {all_reduced(repeats) * size / 1e9:.2f} GB an epoch",
                )
            )
            if repeats == 1:
                largest = (played, peak)
    if largest is None:
        return Row("confidence sums", "too little memory", "", None, details)
    played, peak = largest
    return Row(
        f"confidence sums of {played.size:,} samples, 4 temperatures",
        f"{peak / 1e9:.2f} GB at the peak, {peak / played.size / played.stated:.2f}x the stated {played.stated} bytes",
        "resident on this machine at 100 M; peak <= 1.1x the stated bytes",
        played.size >= 100_000_000 and peak <= 1.1 * played.stated * played.size,
        details,
    )


def play(size: int, repeats: int, batches: int) -> Played:
    torch.set_num_threads(1)
    sums = ConfidenceAccumulator(size, TEMPERATURES, repeats)
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(BATCH, len(TEMPERATURES), generator=generator)
    adding, fold = 0.0, 0.0
    batches = min(batches, size // BATCH)
    for epoch in range(2):
        for batch in range(batches):
            ids = (torch.arange(BATCH) + (batch + epoch) * BATCH) * STRIDE % size
            began = time.perf_counter()
            sums.add(ids, values)
            adding += time.perf_counter() - began
        began = time.perf_counter()
        sums.end_epoch()
        fold = time.perf_counter() - began  # the second's: the first also maps the pages
    assert int(sums.draws.sum()) == 2 * batches * BATCH
    within = [sums._count, sums._sum, *([] if sums._squares is None else [sums._squares])]
    held = sum(tensor.nbytes for tensor in (*sums.state_dict().values(), *within))
    return Played(size, stated(repeats), held // size, 2 * batches * BATCH / adding, fold)


def stated(repeats: int) -> int:
    """Bytes a sample, as the accumulator's module says."""
    temperatures = len(TEMPERATURES)
    return (16 + 8) * temperatures + 8 + 8 if repeats == 1 else (32 + 16) * temperatures + 16 + 8


def all_reduced(repeats: int) -> int:
    """Bytes a sample that an epoch's end adds up over the workers."""
    return (8 if repeats == 1 else 16) * len(TEMPERATURES) + 8


def available() -> int:
    """Bytes of memory that are free now."""
    with open("/proc/meminfo") as file:
        for line in file:
            if line.startswith("MemAvailable"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
