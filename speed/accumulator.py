"""Row 8: what the confidence costs on a CPU: share of a training step, bytes a sample, bytes between workers.

A stopwatch runs in the training loop as shipped, on the two things that plain MoCo v2 has not: the probabilities of
Eqs. 1 and 2 over the batch, and the accumulator that adds them up (``add`` every step, ``end_epoch`` once). Bytes
are those of the tensors that are really there, and of what ``end_epoch`` really hands to the all-reduce.
"""

from __future__ import annotations

import time
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from pipeline import dist
from pipeline.machine import cores
from pipeline.moco import train
from pipeline.moco.confidence import ConfidenceAccumulator
from speed.measure import Row, stopwatch
from speed.pool import BATCH, images, small_task
from speed.training_step import ResidentTraining, part

GOAL = 0.01
_LARGE = 1_000_000


def measure(steps: int = 24, large: int = _LARGE) -> Row:
    torch.set_num_threads(cores())
    pictures, source = images()
    resident = ResidentTraining(pictures[: steps * BATCH], small_task(steps * BATCH), torch.device("cpu"))
    training = resident.training
    places: dict[str, list[tuple[Any, str]]] = {
        "step": [(training, "run_epoch")],
        "add": [(training.confidence, "add")],
        "end_epoch": [(training.confidence, "end_epoch")],
        "probability": [(train, "instance_probability")],
    }
    resident()  # warm-up
    with stopwatch(places) as spent:
        resident()
    whole, sums = spent["step"], spent["add"] + spent["end_epoch"]
    temperatures = training.task.config.confidence_temperatures
    held, within, sent = bytes_a_sample(len(pictures), temperatures, training.sampler.repeats)
    return Row(
        f"8. Confidence accumulator, share of a training step (batch {BATCH}, {len(temperatures)} temperatures)",
        f"{sums / whole:.3%}; {held + within:.0f} bytes a sample; {sent:.0f} bytes a sample all-reduced an epoch",
        f"<= {GOAL:.0%} on CPU",
        sums / whole <= GOAL,
        [
            (f"accumulator: add and end_epoch (ResNet-18 on {source})", part(sums, steps, whole)),
            ("instance probability, Eqs. 1 and 2", part(spent["probability"], steps, whole)),
            ("both together", part(sums + spent["probability"], steps, whole)),
            ("kept for every sample, and while an epoch runs", f"{held:.0f} and {within:.0f} bytes"),
            (f"all-reduced an epoch, pool of {len(pictures):,}", f"{sent * len(pictures) / 2**20:.2f} MiB"),
            (f"add of a batch to a pool of {large:,}", f"{1e6 * seconds_of_add(large, temperatures):.0f} us"),
        ],
    )


def bytes_a_sample(size: int, temperatures: tuple[float, ...], repeats: int) -> tuple[float, float, float]:
    """Of the state that a checkpoint holds, of the shares within an epoch, and of what an epoch's end sends."""
    accumulator = ConfidenceAccumulator(size, temperatures, repeats)
    sent: list[int] = []

    def all_reduce(tensor: Tensor) -> Tensor:
        sent.append(tensor.nbytes)
        return tensor

    with patch.object(dist, "all_reduce_sum", all_reduce):
        accumulator.end_epoch()
    held = sum(tensor.nbytes for tensor in accumulator.state_dict().values())
    everything = [value for value in vars(accumulator).values() if isinstance(value, Tensor)]
    within = sum(tensor.nbytes for tensor in everything)
    return held / size, within / size, sum(sent) / size


def seconds_of_add(size: int, temperatures: tuple[float, ...], rounds: int = 200) -> float:
    """Mean time to add a batch of scattered samples to a pool that no cache holds."""
    accumulator = ConfidenceAccumulator(size, temperatures, repeats=1)
    batches = torch.randint(size, (rounds, BATCH), generator=torch.Generator().manual_seed(0))
    probability = torch.rand(BATCH, len(temperatures), dtype=torch.float64)
    began = time.perf_counter()
    for ids in batches:
        accumulator.add(ids, probability)
    return (time.perf_counter() - began) / rounds
