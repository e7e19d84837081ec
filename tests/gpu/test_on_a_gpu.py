"""What only a GPU can show; skipped where there is none."""

from __future__ import annotations

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
from pipeline.data.keyed import sample_keys
from pipeline.data.views import GREY, RGB, Recipe, make_views
from pipeline.moco.replay import PLAIN_CALLS
from pipeline.moco.resident import ResidentPixels
from pipeline.moco.split_norm import all_at_once, one_by_one
from pipeline.moco.task import PretrainTask
from pipeline.moco.train import Pretraining

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
DEVICE = torch.device("cuda")
CONFIG = PretrainConfig(batch_size=64, queue_size=128, bn_splits=2, epochs=2, warmup_epochs=1)


def _images(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (200, 28, 28, channels), dtype=np.uint8)


def _train(steps: int) -> Pretraining:
    training = Pretraining(PretrainTask(CONFIG, 200, 3, 0, 10**6), DEVICE)
    pixels = ResidentPixels.of_array(_images(), DEVICE)
    training.model.train()
    for epoch in range(steps):
        training.step(next(training.sampler.epoch(epoch)), epoch, pixels)
    return training


def test_a_step_never_waits_for_the_device() -> None:
    training, pixels = _train(PLAIN_CALLS + 1), ResidentPixels.of_array(_images(), DEVICE)
    steps = list(training.sampler.epoch(0))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in steps[:2]:
            training.step(step, 0, pixels)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_replayed_step_is_a_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the rounding of bfloat16, which five steps let grow a little."""
    replayed = _train(PLAIN_CALLS + 3)
    monkeypatch.setattr("pipeline.moco.replay.PLAIN_CALLS", 10**6)
    plain = _train(PLAIN_CALLS + 3)
    assert plain._learn._graph is None and replayed._learn._graph is not None
    ours, theirs = replayed.checkpoint().tensors, plain.checkpoint().tensors
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name].float(), theirs[name].float(), rtol=0.05, atol=0.02, msg=name)
    assert torch.equal(ours["confidence.draws"], theirs["confidence.draws"])


def test_messages_between_recorded_parts_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By NCCL, to itself: with several GPUs its kernels and its watchdog run beside what is recorded and replayed."""
    silent = _train(PLAIN_CALLS + 3).checkpoint().tensors
    torch_dist.init_process_group("nccl", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        monkeypatch.setattr("pipeline.dist.alone", lambda: False)
        sending = _train(PLAIN_CALLS + 3).checkpoint().tensors
    finally:
        torch_dist.destroy_process_group()
    for name in silent:
        torch.testing.assert_close(sending[name].float(), silent[name].float(), rtol=0.05, atol=0.02, msg=name)


def test_splits_of_many_pixels_are_normalised_as_torch_does() -> None:
    """More tiles than CUDA launches along the second axis of a grid."""
    maps = torch.randn(128, 8, 256, 256, device=DEVICE).to(memory_format=torch.channels_last)
    weight, bias = torch.rand(8, device=DEVICE), torch.rand(8, device=DEVICE)
    for one, other in zip(*(way(maps, weight, bias, 64, 1e-5) for way in (one_by_one, all_at_once)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("recipe", "channels"), [(RGB, 3), (GREY, 1)])
def test_a_view_is_the_same_on_every_device(recipe: Recipe, channels: int) -> None:
    images = torch.from_numpy(_images(channels)).permute(0, 3, 1, 2).contiguous()
    ids = torch.arange(200)
    keys = sample_keys(1, 2, torch.zeros_like(ids), ids, 0)
    ours = make_views(images.cuda(), keys.cuda(), recipe).cpu()
    torch.testing.assert_close(ours, make_views(images, keys, recipe), atol=1e-3, rtol=1e-3)


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
