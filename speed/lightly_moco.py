"""Row 2: the training loop as shipped against MoCo v2 made of Lightly's parts, on the same images.

Lightly's side is put together as its own MoCo v2 benchmark does it: MoCoV2Transform on PIL images in a DataLoader,
shuffled batch norm for the keys, update_momentum, NTXentLoss with a memory bank. It gets our encoder (ResNet-18
and the two-layer head), our batch, queue and optimizer, whichever of 0, 1, 2 and cores + 2 loader workers is fastest,
and what we found to be fast: channels last and our dtype. As its examples have it (default layout, float32) it is timed
too; what counts is the faster of the two. Ours does more: the confidence at four temperatures.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pipeline import device as devices
from pipeline.artifacts import Uint8
from pipeline.config import PretrainConfig
from pipeline.machine import cores
from pipeline.moco.model import build_encoder
from speed.measure import Row, alternate, lacking, ratio, speed
from speed.pool import BATCH, images, small_task
from speed.training_step import ResidentTraining

WHAT = "2. Training loop against Lightly's MoCo v2 (same model, batch and images)"
GOAL = 1.9


@dataclass
class Pictures(Dataset[Any]):
    """The pool as Lightly reads one: PIL images, transformed one by one."""

    pictures: Uint8
    transform: Callable[[Image.Image], list[Tensor]]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> list[Tensor]:
        return self.transform(Image.fromarray(self.pictures[index]))


class LightlyTraining:
    """Lightly's MoCo v2, one epoch a call."""

    def __init__(self, pictures: Uint8, config: PretrainConfig, workers: int, layout: torch.memory_format) -> None:
        from lightly.loss import NTXentLoss
        from lightly.models.utils import deactivate_requires_grad
        from lightly.transforms import MoCoV2Transform

        self.config, self.layout = config, layout
        self.loader = DataLoader(
            Pictures(pictures, MoCoV2Transform(input_size=pictures.shape[1])),
            batch_size=config.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,  # started once, before the clock
        )
        self.query_encoder = build_encoder(config.arch, config.projection_dim).to(memory_format=layout)
        self.key_encoder = copy.deepcopy(self.query_encoder)
        deactivate_requires_grad(self.key_encoder)
        self.loss = NTXentLoss(config.loss_temperature, memory_bank_size=(config.queue_size, config.projection_dim))
        self.optimizer = torch.optim.SGD(
            self.query_encoder.parameters(),
            lr=config.learning_rate,
            momentum=config.sgd_momentum,
            weight_decay=config.weight_decay,
            fused=True,
        )
        tuned = layout == torch.channels_last
        self.dtype = devices.choose_precision("auto" if tuned else "float32", torch.device("cpu"))[0]

    def __call__(self) -> None:
        from lightly.models.utils import batch_shuffle, batch_unshuffle, update_momentum

        for first, second in self.loader:
            update_momentum(self.query_encoder, self.key_encoder, m=self.config.encoder_momentum)
            with devices.autocast(torch.device("cpu"), self.dtype):
                query = self.query_encoder(first.to(memory_format=self.layout))
                with torch.no_grad():
                    shuffled, order = batch_shuffle(second.to(memory_format=self.layout))
                    key = batch_unshuffle(self.key_encoder(shuffled), order)
            loss = self.loss(query.float(), key.float())
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


def measure(steps: int = 24, rounds: int = 3) -> Row:
    missing = lacking("lightly")
    if missing:
        return Row(WHAT, missing, f">= {GOAL}x", None)
    torch.set_num_threads(cores())
    pictures, source = images()
    pictures = pictures[: steps * BATCH]
    ours = ResidentTraining(pictures, small_task(len(pictures)), torch.device("cpu"))
    config = ours.training.task.config

    def lightly(workers: int, layout: torch.memory_format) -> LightlyTraining:
        return LightlyTraining(pictures, config, workers, layout)

    numbers = sorted({0, 1, 2, cores() + 2})
    # As long as what is measured: workers begin an epoch with some batches in store, which a short one would live on.
    trial = alternate({str(number): lightly(number, torch.channels_last) for number in numbers}, rounds=2)
    best = min(numbers, key=lambda number: min(trial[str(number)]))
    candidates: dict[str, Callable[[], None]] = {
        "ours": ours,
        "tuned": lightly(best, torch.channels_last),
        "as in its examples": lightly(best, torch.contiguous_format),
    }
    seconds = alternate(candidates, rounds)
    lead = {name: ratio(seconds, name, "ours") for name in candidates if name != "ours"}
    least = min(lead.values())
    return Row(
        WHAT,
        f"{least:.2f}x",
        f">= {GOAL}x",
        least >= GOAL,
        [
            (f"ours, pairs on {source}, {ours.training.precision_reason}", speed(seconds["ours"], ours.pairs)),
            ("Lightly, channels last and our dtype", speed(seconds["tuned"], ours.pairs)),
            ("Lightly as in its examples (default layout, float32)", speed(seconds["as in its examples"], ours.pairs)),
            *((f"ours over Lightly, {name}", f"{value:.2f}x") for name, value in lead.items()),
            *(
                (f"Lightly with {number} loader workers, a trial of as many steps", speed(times, len(pictures)))
                for number, times in trial.items()
            ),
            ("loader workers used", str(best)),
            ("keys in the queue, both", str(config.queue_size)),
        ],
    )
