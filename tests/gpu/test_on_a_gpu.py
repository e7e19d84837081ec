"""What only a GPU can show; skipped where there is none. Not yet run on one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from pipeline.cluster import kmeans
from pipeline.config import PretrainConfig
from pipeline.data.keyed import sample_keys
from pipeline.data.views import GREY, RGB, Recipe, make_views
from pipeline.moco.resident import ResidentPixels
from pipeline.moco.task import PretrainTask
from pipeline.moco.train import Pretraining

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
CONFIG = PretrainConfig(batch_size=64, queue_size=128, bn_splits=2, epochs=2, warmup_epochs=1)


def _images(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (200, 28, 28, channels), dtype=np.uint8)


def test_a_step_never_waits_for_the_device() -> None:
    device = torch.device("cuda")
    training = Pretraining(PretrainTask(CONFIG, 200, 3, 0, 10**6), device)
    pixels = ResidentPixels(_images(), device)
    training.model.train()
    first, second, third = list(training.sampler.epoch(0))[:3]
    training.step(first, 0, pixels)  # the first one allocates and chooses kernels
    torch.cuda.set_sync_debug_mode("error")
    try:
        training.step(second, 0, pixels)
        training.step(third, 0, pixels)
    finally:
        torch.cuda.set_sync_debug_mode("default")


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
