"""Row 10: a checkpoint of preset ``small`` on blood28: seconds a write, and share of an epoch.

As the first worker does it after every epoch: a copy of the state, for which training waits, and then, in a thread
beside the next epoch, one safetensors file written beside its place, flushed to the disk and renamed. Both together
are held to the goal, as if nothing were hidden. Beside them the same number of bytes written and flushed plainly,
which is what the disk itself takes. The epoch is a whole one of the training loop as shipped. All take turns, after a
round for warm-up; a write is three of them, which take a second together. Not measured: a write beside a training, on
a CPU whose cores both use.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pipeline.checkpoint import CheckpointWriter
from pipeline.machine import cores
from pipeline.results import CHECKPOINT
from pipeline.storage import Location
from speed.measure import Row, alternate, ratio
from speed.pool import images, small_task
from speed.training_step import ResidentTraining

GOAL = 0.02


def measure(size: int | None = None, rounds: int = 4, writes: int = 3) -> Row:
    torch.set_num_threads(cores())
    pictures, source = images()
    pictures = pictures[:size]
    resident = ResidentTraining(pictures, small_task(len(pictures)), torch.device("cpu"))
    training = resident.training
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:  # the disk that a store would be on, not a memory one
        store = Location(folder)

        writer, waited = CheckpointWriter(lambda: store.writing(CHECKPOINT)), list[float]()

        def write() -> None:
            began = time.perf_counter()
            writer.write(training.checkpoint())
            waited.append(time.perf_counter() - began)
            writer.finish()

        def several(call: Callable[[], None]) -> None:
            for _ in range(writes):
                call()

        write()
        size_of_file = os.path.getsize(store.path(CHECKPOINT))
        data = bytes(size_of_file)
        seconds = alternate(
            {
                "epoch": resident,
                "checkpoint": lambda: several(write),
                "plain": lambda: several(lambda: plain_write(store.path("plain"), data)),
            },
            rounds,
        )
    of_one = {name: [value / writes for value in seconds[name]] for name in ("checkpoint", "plain")}
    share = ratio(seconds, "checkpoint", "epoch") / writes
    each = training.task.config
    return Row(
        "10. Checkpoint of preset small, share of an epoch on blood28",
        f"{share:.2%} ({statistics.median(of_one['checkpoint']):.2f} s a write)",
        f"<= {GOAL:.0%}",
        share <= GOAL,
        [
            (f"an epoch of {resident.pairs:,} pairs ({source})", spread(seconds["epoch"])),
            ("a checkpoint", f"{size_of_file / 2**20:.0f} MiB, after every {each.checkpoint_every} epoch(s)"),
            ("seconds a write", spread(of_one["checkpoint"])),
            ("of which training waits", spread(waited)),
            ("the same bytes written and flushed plainly", spread(of_one["plain"])),
        ],
    )


def plain_write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def spread(seconds: list[float]) -> str:
    """The median, and the fastest and slowest."""
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"
