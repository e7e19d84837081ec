"""Row 4: streaming mode over resident mode: the same loop, the same batches, the same threads.

Resident: the pool's tensor in memory. Streaming: ``StreamedPixels``, Ray Data reading the ingested pool's Parquet
window by window, with the embedded Ray that jobs start, all on this machine's cores (who reads takes from who
trains). The shuffle window is a sixth of the pool, so that several windows stream (a job on a CPU streams no pool of
three or fewer); the pool's files are in the page cache. The resident run has the same window, hence the same batches,
and its losses must come out the same. They take turns at who goes first. An epoch is timed as a whole, and in each the
next one's stream starts and its first window is read; only the first, in which Ray starts its processes, counts for
warm-up.
"""

from __future__ import annotations

import tempfile

import torch

from pipeline.machine import cores
from pipeline.moco.resident import ResidentPixels
from pipeline.moco.train import Pixels, Pretraining
from pipeline.progress import Progress
from pipeline.storage import Location
from speed.measure import Row, alternate, ratio, speed, stopwatch
from speed.pool import BATCH, images, ingested, many, small_task

GOAL = 0.85


class Training:
    """The loop as shipped, one epoch a call."""

    def __init__(self, training: Pretraining, pixels: Pixels) -> None:
        self.training, self.pixels = training, pixels

    def __call__(self) -> None:
        self.training.run_epoch(self.training.epochs_done, self.pixels, Progress("", 1, lambda text: None))


def measure(size: int = 24_576, window: int = 4_096, rounds: int = 4) -> Row:
    from pipeline.on_ray.session import ray_session
    from pipeline.on_ray.stream import StreamedPixels

    torch.set_num_threads(cores())
    device = torch.device("cpu")
    pictures, source = images()
    pictures = many(pictures, size)
    with tempfile.TemporaryDirectory() as folder, ray_session(lambda text: None):
        store = Location(folder)
        pool = ingested(pictures, store, "streamed")
        assert pool.size == size, f"{size - pool.size} equal images"
        task = small_task(size, window)
        resident = Training(Pretraining(task, device), ResidentPixels.of_array(pictures, device))
        # An epoch more than is timed, since during each the next one's first window is read.
        pixels = StreamedPixels(store, pool, task.sampler, 0, 2 + rounds, device)
        streamed = Training(Pretraining(task, device), pixels)
        with stopwatch({"resident": [(resident.pixels, "fetch")], "streamed": [(pixels, "fetch")]}) as fetching:
            seconds = alternate({"resident": resident, "streamed": streamed}, rounds)
        for step in task.sampler.epoch(1 + rounds):
            pixels.fetch(step, streamed.training.parts)
    share = ratio(seconds, "resident", "streamed")
    losses = [[epoch["loss"] for epoch in run.training.history] for run in (resident, streamed)]
    pairs = task.sampler.steps * BATCH
    steps = (1 + rounds) * task.sampler.steps
    return Row(
        "4. Streaming mode over resident mode (ResNet-18, 28x28x3, batch 256)",
        f"{share:.2f}",
        f">= {GOAL}",
        share >= GOAL,
        [
            (f"resident, pairs; {size:,} images of {source}, epochs of {pairs:,}", speed(seconds["resident"], pairs)),
            (f"streamed, pairs; windows of {window:,}", speed(seconds["streamed"], pairs)),
            *(
                (f"fetching a step's images, {mode}, mean of all epochs", f"{1000 * value / steps:.1f} ms")
                for mode, value in fetching.items()
            ),
            ("losses of both modes", "the same" if losses[0] == losses[1] else f"**differ**: {losses}"),
            ("threads of the training, in both", str(torch.get_num_threads())),
        ],
    )
