"""Row 5: embedding as shipped over the bare forward pass.

As shipped: the embed stage, from the pool's Parquet to the features' Parquet, timed from the call to its end; Ray runs
already, as it does when the main job comes to this stage. On one machine without a GPU, as here, the stage reads,
embeds and writes in the driver; the same by Ray Data and its actors, as on a cluster, is listed beside it. The bare
pass: the same encoder with the same weights, dtype, layout, batch and threads on normalised tensors made beforehand,
results dropped. It runs with batch norm apart, folded into the convolutions (which the embedder does for itself), and
folded on the worker threads of the stage; what counts is the fastest. The headline is the stage's whole wall at this
size, its fixed start included; what does not grow with the pool is measured on a pool of one batch.
"""

from __future__ import annotations

import copy
import tempfile
import time
from itertools import count
from typing import TYPE_CHECKING
from unittest.mock import patch

import torch
from safetensors.torch import save
from torch import Tensor, nn

from pipeline import device as devices
from pipeline.artifacts import PoolManifest, Uint8, fingerprint
from pipeline.data.views import normalise
from pipeline.embed import on_worker_threads, worker_threads
from pipeline.embed.moco import Embedder
from pipeline.machine import cores
from pipeline.moco.model import build_encoder, fold_batch_norms
from pipeline.results import Trained
from speed.measure import Row, alternate, ratio, speed
from speed.pool import BATCH, images, ingested, many, settings, small_task

if TYPE_CHECKING:  # boto3 comes with it, which not every machine with a GPU has
    from pipeline.storage import Location

GOAL = 0.85


class BareForward:
    """The encoder on ``copies`` times the same batches; nothing is waited for."""

    def __init__(self, encoder: nn.Module, pictures: Uint8, batch: int, copies: int, device: torch.device) -> None:
        self.encoder, self.copies, self.device = encoder.eval().to(device), copies, device
        self.dtype, _ = devices.choose_precision("auto", device)
        pixels = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).to(torch.float32) / 255
        self.batches: list[Tensor] = [normalise(part) for part in pixels.split(batch)]

    def __call__(self) -> None:
        for batch in self.batches * self.copies:
            self._pass(batch)

    @torch.inference_mode()
    def _pass(self, batch: Tensor) -> None:
        with devices.autocast(self.device, self.dtype):
            self.encoder(batch)


class BareOnWorkerThreads(BareForward):
    """The same, on a CPU in the stage's worker threads."""

    def __call__(self) -> None:
        count = worker_threads()
        parts = [part for batch in self.batches for part in batch.split(max(1, len(batch) // count))]
        for _ in on_worker_threads(self._pass, parts * self.copies, count):
            pass


def bare_passes(
    encoder: nn.Module, pictures: Uint8, batch: int, copies: int, device: torch.device
) -> dict[str, BareForward]:
    """Batch norm apart, and folded; by name."""
    folded = fold_batch_norms(copy.deepcopy(encoder).eval())
    return {
        "bare pass": BareForward(encoder, pictures, batch, copies, device),
        "bare pass, batch norm folded": BareForward(folded, pictures, batch, copies, device),
    }


def measure(batches: int = 18, copies: int = 3, rounds: int = 8) -> Row:
    from pipeline.on_ray.session import ray_session
    from pipeline.progress import silent
    from pipeline.run import Run
    from pipeline.stages.embed import embed
    from pipeline.storage import Location

    torch.set_num_threads(cores())
    runs = count()
    with tempfile.TemporaryDirectory() as folder, ray_session(lambda text: None):
        store = Location(folder)
        batch = settings(store).embed.batch_size
        pictures, source = images()
        pictures = many(pictures, batches * batch)
        size = len(pictures) * copies
        trained, encoder, embedder = untrained(store)
        pool = ingested(many(pictures, size), store, "whole")
        one_batch = ingested(pictures[:batch], store, "one-batch")
        assert pool.size == size, f"{size - pool.size} equal images"

        def stage(of: PoolManifest) -> float:
            began = time.perf_counter()
            embed(Run(settings(store, run=f"run-{next(runs)}"), store, silent), of, trained)
            return time.perf_counter() - began

        def stage_by_actors() -> None:
            with patch("pipeline.on_ray.write_features.only_this_machine", lambda: False):
                stage(pool)

        cpu = torch.device("cpu")
        bare = bare_passes(encoder, pictures, batch, copies, cpu)
        folded = bare["bare pass, batch norm folded"].encoder
        bare["bare pass, batch norm folded, in worker threads"] = BareOnWorkerThreads(
            folded, pictures, batch, copies, cpu
        )
        embed_all(embedder, pictures[:batch], batch)
        # No warm-up: the main job comes to this stage once.
        seconds = alternate({"stage": lambda: stage(pool), **bare}, rounds, warm_up=0)
        beside = alternate({"actors": stage_by_actors}, 2, warm_up=0)
        beside |= alternate({"embedder": lambda: embed_all(embedder, pictures, batch)}, rounds)
        against = {name: ratio(seconds, name, "stage") for name in bare}
        fastest = min(against, key=against.__getitem__)
        one = min(seconds[fastest]) * batch / size
        start = min(stage(one_batch) for _ in range(rounds)) - one
    share = against[fastest]
    steady = share * min(seconds["stage"]) / (min(seconds["stage"]) - start)
    return Row(
        "5. Embedding as shipped, Parquet to Parquet, over the bare forward pass (ResNet-18, 28x28x3)",
        f"{share:.3f} ({size:,} images, start included)",
        f">= {GOAL}",
        share >= GOAL,
        [
            (f"the stage from call to end, images ({source})", speed(seconds["stage"], size)),
            ("the same by Ray Data and its actors, their start included, images", speed(beside["actors"], size)),
            *((f"the {name}, images, batches of {batch}", speed(seconds[name], size)) for name in bare),
            *((f"the stage over the {name}", f"{value:.3f}") for name, value in against.items()),
            (
                "the embedder itself, from uint8 to features in memory, images",
                speed(beside["embedder"], len(pictures)),
            ),
            ("the stage on a pool of one batch, less that batch: what does not grow", f"{start:.1f} s"),
            ("the share without that", f"{steady:.3f}"),
        ],
    )


def untrained(store: Location) -> tuple[Trained, nn.Module, Embedder]:
    """What pre-training leaves on the store, with the weights of its beginning; the bare encoder; the embedder."""
    config = small_task(BATCH).config
    encoder = build_encoder(config.arch, config.projection_dim)
    weights = {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in encoder.state_dict().items()
    }
    data = save(weights)
    embedder = Embedder(weights, config.arch, torch.device("cpu"))
    trained = Trained(
        folder="trained", files="trained", arch=config.arch, weights=fingerprint(data), dimensions=embedder.dimensions,
        loss=0.0, fitted={}, notes=[],
    )  # fmt: skip
    store.write_bytes(trained.weights_file, data)
    encoder.fc = nn.Identity()
    return trained, encoder, embedder


def embed_all(embedder: Embedder, pictures: Uint8, batch: int) -> None:
    for start in range(0, len(pictures), batch):
        embedder(pictures[start : start + batch])
