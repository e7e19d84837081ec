"""The loop in one process: counts, resume, learning rate, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from pipeline.config import PretrainConfig
from pipeline.context import LocalContext
from pipeline.moco.resident import ResidentPixels
from pipeline.moco.task import PretrainTask
from pipeline.moco.train import Pretraining, pretrain

pytestmark = pytest.mark.usefixtures("tiny_encoder")

CONFIG = PretrainConfig(
    epochs=3, repeats=2, batch_size=16, queue_size=32, bn_splits=2, warmup_epochs=1, projection_dim=16
)


def _pixels(n: int = 37) -> ResidentPixels:
    images = (load_digits().images[:n, :, :, None] * 15.9).astype(np.uint8)
    return ResidentPixels(images, torch.device("cpu"))


def _task(n: int = 37, config: PretrainConfig = CONFIG) -> PretrainTask:
    return PretrainTask(config, n, 1, seed=0, window=10**6)


def test_every_sample_is_counted_as_often_as_known_in_advance() -> None:
    context = LocalContext()
    pretrain(_task(), _pixels(), context)
    assert context.last is not None
    counted = context.last.part("confidence")["draws"].numpy()
    assert np.array_equal(counted, _task().sampler.counts(3))
    assert counted.sum() == 3 * (37 * 2 // 16) * 16


class _Killed(Exception):
    pass


class _DiesAfter(LocalContext):
    def report(self, metrics, checkpoint):  # type: ignore[no-untyped-def]
        super().report(metrics, checkpoint)
        if metrics["epoch"] == 2:
            raise _Killed


def test_a_killed_run_resumes_and_ends_with_the_same_weights_counts_and_sums() -> None:
    whole = LocalContext()
    pretrain(_task(), _pixels(), whole)
    killed = _DiesAfter()
    with pytest.raises(_Killed):
        pretrain(_task(), _pixels(), killed)
    pretrain(_task(), _pixels(), LocalContext(last=killed.last, history=(rest := [])))
    resumed = LocalContext(last=killed.last)
    pretrain(_task(), _pixels(), resumed)
    assert [metrics["epoch"] for metrics in rest] == [3]
    assert whole.last is not None and resumed.last is not None
    assert whole.last.tensors.keys() == resumed.last.tensors.keys()
    for name, tensor in whole.last.tensors.items():
        assert torch.equal(tensor, resumed.last.tensors[name]), name


def test_learning_rate_warms_up_and_falls_to_nothing_by_the_cosine() -> None:
    config = PretrainConfig(
        epochs=10, repeats=1, batch_size=512, queue_size=512, bn_splits=2, warmup_epochs=2, learning_rate=0.03
    )
    training = Pretraining(PretrainTask(config, 5120, 1, 0, 10**6), torch.device("cpu"))
    peak = 0.03 * 512 / 256
    assert training.learning_rate(0, 0) == pytest.approx(peak / 20)
    assert training.learning_rate(1, 9) == pytest.approx(peak)
    assert training.learning_rate(2, 0) == pytest.approx(peak)
    assert training.learning_rate(6, 0) == pytest.approx(peak / 2)
    assert training.learning_rate(10, 0) == pytest.approx(0, abs=1e-12)


def test_it_learns_to_tell_images_apart() -> None:
    coarse = torch.rand(256, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(coarse, size=(16, 16), mode="bilinear")
    images = (smooth * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    config = PretrainConfig(
        epochs=12,
        repeats=2,
        batch_size=64,
        queue_size=128,
        bn_splits=2,
        warmup_epochs=1,
        encoder_momentum=0.98,
        learning_rate=0.2,
    )
    context = LocalContext()
    pretrain(PretrainTask(config, 256, 3, 0, 10**6), ResidentPixels(images, torch.device("cpu")), context)
    candidates = 129  # the queue and the own key
    assert context.history[-1]["accuracy"] > 5 / candidates
    assert context.history[-1]["loss"] < np.log(candidates) - 0.2


def test_same_seed_same_numbers_and_another_seed_others() -> None:
    runs = []
    for seed in (0, 0, 1):
        context = LocalContext()
        pretrain(PretrainTask(CONFIG, 37, 1, seed, 10**6), _pixels(), context)
        runs.append([metrics["loss"] for metrics in context.history])
    assert runs[0] == runs[1] != runs[2]
