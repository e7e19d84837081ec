"""The images that everything here is measured on, and the training that runs on them."""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.datasets import load_digits

from pipeline.artifacts import PoolManifest, Uint8
from pipeline.config import RunConfig, override
from pipeline.moco.fit_settings import fit_to_pool
from pipeline.moco.task import PretrainTask
from pipeline.presets import preset

if TYPE_CHECKING:  # boto3 comes with it, which not every machine with a GPU has
    from pipeline.storage import Location

BLOOD = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "blood28.npz"
BATCH = 256
_STAND_IN_SIZE = 11_959
"""Of blood28's training split."""


def images() -> tuple[Uint8, str]:
    """(N, 28, 28, 3) and what they are: blood28; where that is absent scikit-learn's digits, enlarged and coloured.

    What is in a picture does not change how long it takes.
    """
    if BLOOD.exists():
        return _once(np.load(BLOOD)["train_images"]), "blood28"
    small = torch.from_numpy(load_digits().images / 16).to(torch.float32)[:, None]
    large = torch.nn.functional.interpolate(small, size=(28, 28), mode="bilinear").expand(-1, 3, -1, -1)
    pictures = (large * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return many(pictures, _STAND_IN_SIZE), "digits enlarged to 28x28x3, repeated"


def _once(pictures: Uint8) -> Uint8:
    """As ingest would keep them: of equal images the first."""
    digests = [hashlib.sha256(picture.tobytes()).digest() for picture in pictures]
    _, first = np.unique(np.array(digests, dtype="S32"), return_index=True)
    return np.ascontiguousarray(pictures[np.sort(first)])


def many(pictures: Uint8, size: int) -> Uint8:
    """``size`` images (.., .., .., 3): repeats, each numbered in a corner, since ingest keeps one of equal ones."""
    repeated = np.resize(pictures, (size, *pictures.shape[1:]))
    number = np.arange(size)
    repeated[:, 0, 0] = np.stack([number, number >> 8, number >> 16], 1) & 255
    return repeated


def small_task(size: int, window: int | None = None) -> PretrainTask:
    """Preset ``small`` on a pool of that size, at the batch of the table: ResNet-18, two splits, four temperatures."""
    config, _ = fit_to_pool(replace(preset("small").pretrain, batch_size=BATCH), size, workers=1)
    assert config.batch_size == BATCH, f"{size} images are less than a batch"
    return PretrainTask(config, size, 3, seed=0, window=window or size)


def ingested(pictures: Uint8, store: Location, name: str) -> PoolManifest:
    """``pictures`` as a pool on ``store``, as ingest leaves it. Ray is running."""
    from pipeline.run import Run
    from pipeline.stages.ingest import ingest

    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/{name}.npz", train_images=pictures)
        config = settings(store, ingest={"source": f"npz:{folder}/{name}.npz", "name": name})
        return ingest(Run(config, store, print))


def settings(store: Location, **values: object) -> RunConfig:
    """Preset ``small`` for jobs that work on ``store``."""
    return override(preset("small"), {"store": store.uri, **values})
