"""What only a GPU can show; skipped where there is none.

    python -m pytest --noconftest tests/gpu tests/unit/moco/test_objective.py

on a machine that has neither boto3 nor Ray: ``tests/conftest.py`` wants them, these tests do not. The second file is
the loss and the confidence, on every device.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as torch_dist
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from pipeline.cluster import kmeans
from pipeline.config import PretrainConfig
from pipeline.data.random_streams import stream_keys
from pipeline.data.views import GREY, RGB, Recipe, make_views
from pipeline.device import Pace
from pipeline.moco.fast.cuda_graph import PLAIN_CALLS
from pipeline.moco.fast.split_norm import all_at_once, one_by_one
from pipeline.moco.objective import KEYS_AT_ONCE
from pipeline.moco.resident import ResidentPixels
from pipeline.moco.task import PretrainTask
from pipeline.moco.train import Pretraining

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
DEVICE = torch.device("cuda")
STEPS = PLAIN_CALLS + 3
"""The last three are replayed."""
CONFIG = PretrainConfig(
    batch_size=64, queue_size=4096, bn_splits=2, epochs=STEPS + 1, warmup_epochs=1, learning_rate=0.003
)
"""Every step has a rate, each another; one recorded for good moves the weights 29% too far (seen on a CPU)."""


@dataclass(frozen=True)
class Trained:
    training: Pretraining
    totals: torch.Tensor
    """(steps, 2): loss, and correct queries."""
    moved: torch.Tensor
    """All weights of the query encoder in a row, less what they began as."""


def _images(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (200, 28, 28, channels), dtype=np.uint8)


def _train(device: torch.device = DEVICE, steps: int = STEPS) -> Trained:
    """The first step of each epoch; the queue in five blocks, the last of them smaller."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KEYS_AT_ONCE, device.type, 1000)
        training = Pretraining(PretrainTask(CONFIG, 200, 3, 0, 10**6), device)
        pixels = ResidentPixels.of_array(_images(), device)
        before = _weights(training)
        totals = [training.step(next(training.sampler.epoch(epoch)), epoch, pixels).cpu() for epoch in range(steps)]
    return Trained(training, torch.stack(totals), _weights(training) - before)


def _weights(training: Pretraining) -> torch.Tensor:
    return torch.cat([weight.detach().cpu().flatten() for weight in training.model.query_encoder.parameters()])


def _assert_alike(ours: Trained, theirs: Trained) -> None:
    """As far as a rounding lets that five steps multiply.

    On a CPU, where noise of .4% (more than bfloat16's) was put on every map, losses ended .1% apart, the way of the
    weights 2% longer or shorter and in a direction of cosine .93, confidence at a temperature of .2 2.4% apart.
    """
    torch.testing.assert_close(ours.totals[:, 0], theirs.totals[:, 0], rtol=0.01, atol=0)
    torch.testing.assert_close(ours.moved.norm(), theirs.moved.norm(), rtol=0.06, atol=0)
    assert torch.cosine_similarity(ours.moved, theirs.moved, 0) > 0.8
    sums, others = ours.training.confidence, theirs.training.confidence
    assert torch.equal(sums._count.cpu(), others._count.cpu()) and sums._count.sum() == len(ours.totals) * 64
    at_the_largest_temperature = others._sum[:, 0].cpu()
    assert torch.dist(sums._sum[:, 0].cpu(), at_the_largest_temperature) < 0.08 * at_the_largest_temperature.norm()


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_a_training_is_the_same_on_every_device(device: str) -> None:
    """In bfloat16 on a GPU, replayed from the third step on; in float32 on a CPU."""
    _assert_alike(_train(torch.device(device)), _train(torch.device("cpu")))


@needs_gpu
def test_a_step_never_waits_for_the_device() -> None:
    training, pixels = _train(steps=PLAIN_CALLS + 1).training, ResidentPixels.of_array(_images(), DEVICE)
    steps = list(training.sampler.epoch(0))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in steps[:2]:
            training.step(step, 0, pixels)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_gpu
def test_the_host_is_at_most_two_batches_ahead() -> None:
    pace, copied = Pace(DEVICE), []
    for _ in range(3):
        torch.cuda._sleep(2 * 10**8)  # a tenth of a second or more
        copied.append(torch.cuda.current_stream().record_event())
        pace.sent()
    assert copied[0].query() and not copied[2].query()


@needs_gpu
def test_a_replayed_step_is_a_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    replayed = _train()
    monkeypatch.setattr("pipeline.moco.fast.cuda_graph.PLAIN_CALLS", 10**6)
    plain = _train()
    assert plain.training._learn._graph is None and replayed.training._learn._graph is not None
    _assert_alike(replayed, plain)


@needs_gpu
def test_messages_between_recorded_parts_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By NCCL, to itself: with several GPUs its kernels and its watchdog run beside what is recorded and replayed."""
    silent = _train()
    torch_dist.init_process_group("nccl", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        monkeypatch.setattr("pipeline.dist.alone", lambda: False)
        sending = _train()
    finally:
        torch_dist.destroy_process_group()
    _assert_alike(sending, silent)


@needs_gpu
def test_splits_of_many_pixels_are_normalised_as_torch_does() -> None:
    """More tiles than CUDA launches along the second axis of a grid."""
    maps = torch.randn(128, 8, 256, 256, device=DEVICE).to(memory_format=torch.channels_last)
    weight, bias = torch.rand(8, device=DEVICE), torch.rand(8, device=DEVICE)
    results = []
    for way in (one_by_one, all_at_once):
        sums = torch.zeros(8, device=DEVICE), torch.zeros(8, device=DEVICE), torch.tensor(0, device=DEVICE)
        results.append([way(maps, weight, bias, sums, 64, 1e-5), *sums])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@needs_gpu
@pytest.mark.parametrize(("recipe", "channels"), [(RGB, 3), (GREY, 1)])
def test_a_view_is_the_same_on_every_device(recipe: Recipe, channels: int) -> None:
    images = torch.from_numpy(_images(channels)).permute(0, 3, 1, 2).contiguous()
    ids = torch.arange(200)
    keys = stream_keys(1, 2, torch.zeros_like(ids), ids, 0)
    ours = make_views(images.cuda(), keys.cuda(), recipe).cpu()
    torch.testing.assert_close(ours, make_views(images, keys, recipe), atol=1e-3, rtol=1e-3)


@needs_gpu
@pytest.mark.parametrize("k", [5, 30])
def test_cuml_finds_the_clusters_that_scikit_learn_finds(k: int) -> None:
    pytest.importorskip("cuml")
    points, _ = make_blobs(20_000, 64, centers=k, cluster_std=0.5, random_state=0)
    points = points.astype(np.float32)
    ours = kmeans(points, k, seed=0, backend="cuml")
    theirs = KMeans(k, n_init=10, random_state=0).fit(points)
    assert ours.backend.startswith("cuml")
    assert adjusted_rand_score(ours.labels, theirs.labels_) >= 0.99
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=0.01)


@needs_gpu
def test_cuml_takes_what_the_gpu_has_no_room_for() -> None:
    pytest.importorskip("cuml")
    points, _ = make_blobs(400_000, 64, centers=5, cluster_std=0.5, random_state=0)
    points = points.astype(np.float32)
    free, _ = torch.cuda.mem_get_info()
    taken = torch.empty(free - 150 * 2**20, dtype=torch.uint8, device=DEVICE)  # the points are 98 MiB
    ours = kmeans(points, 5, seed=0, backend="cuml")
    del taken
    assert ours.backend == "cuml-buffered"
    theirs = KMeans(5, n_init=3, random_state=0).fit(points)
    assert adjusted_rand_score(ours.labels, theirs.labels_) >= 0.99
    assert ours.inertia == pytest.approx(theirs.inertia_, rel=0.01)
