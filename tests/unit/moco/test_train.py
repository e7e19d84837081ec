"""The loop in one process: counts, resume, learning rate, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from pipeline.config import PretrainConfig
from pipeline.context import LocalContext
from pipeline.data.keyed import sample_keys
from pipeline.data.views import make_views
from pipeline.moco.model import batch_norms
from pipeline.moco.resident import ResidentPixels
from pipeline.moco.task import PretrainTask
from pipeline.moco.train import Pretraining, pretrain

pytestmark = pytest.mark.usefixtures("tiny_encoder")

CONFIG = PretrainConfig(
    epochs=3, repeats=2, batch_size=16, queue_size=32, bn_splits=2, warmup_epochs=1, projection_dim=16
)


def _pixels(n: int = 37) -> ResidentPixels:
    images = (load_digits().images[:n, :, :, None] * 15.9).astype(np.uint8)
    return ResidentPixels.of_array(images, torch.device("cpu"))


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


def test_a_step_is_the_papers_loss_of_the_whole_batch() -> None:
    """Against the plain way: both encoders over the batch with a batch norm a split, one mean loss, one backward."""
    training, plain = (Pretraining(_task(), torch.device("cpu")) for _ in range(2))
    step, images = next(training.sampler.epoch(0)), _pixels()
    training.model.train()
    loss, correct = training.step(step, 0, images).tolist()

    ids, repeat = torch.from_numpy(step.ids), torch.from_numpy(step.repeat)
    views = [
        make_views(images.fetch(step.ids), sample_keys(0, 0, repeat, ids, view), training.recipe) for view in (0, 1)
    ]
    model = plain.model.train()
    query = torch.cat([model.query_encoder(split) for split in views[0].split(8)])
    shuffled = views[1][torch.from_numpy(step.shuffle)]
    key = torch.empty(16, 16)
    key[torch.from_numpy(step.shuffle)] = torch.cat([model.key_encoder(split) for split in shuffled.split(8)])
    logits = torch.cat([(query * key).sum(1)[:, None], query @ model.queue.T], 1) / CONFIG.loss_temperature
    expected = -torch.log_softmax(logits, 1)[:, 0]
    expected.mean().backward()

    assert loss == pytest.approx(expected.sum().item(), rel=1e-5)
    assert correct == (logits.argmax(1) == 0).sum()
    torch.testing.assert_close(training.model.queue[:16], key)
    ours, theirs = training.model.query_encoder.named_parameters(), model.query_encoder.parameters()
    for (name, parameter), other in zip(ours, theirs, strict=True):
        assert other.grad is not None
        torch.testing.assert_close(parameter.grad, other.grad, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize(("pixels_at_once", "rows_at_once"), [(1, 8), (8 * 64, 8), (2 * 8 * 64, 16), (1 << 22, 16)])
def test_as_many_whole_splits_at_once_as_memory_allows(
    pixels_at_once: int, rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And how many makes no difference to the step."""
    expected = Pretraining(_task(), torch.device("cpu"))
    step = next(expected.sampler.epoch(0))
    totals = expected.step(step, 0, _pixels())
    monkeypatch.setattr("pipeline.moco.train.PIXELS_AT_ONCE", pixels_at_once)
    training = Pretraining(_task(), torch.device("cpu"))
    rows: list[int] = []
    batch_norms(training.model)[0].register_forward_pre_hook(lambda _, args: rows.append(len(args[0])))
    torch.testing.assert_close(training.step(step, 0, _pixels()), totals)
    assert rows == [rows_at_once] * (CONFIG.batch_size // rows_at_once)
    for one, other in zip(training.model.state_dict().values(), expected.model.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)
    assert all(layer.split_rows == 8 for layer in batch_norms(training.model))


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
    pretrain(PretrainTask(config, 256, 3, 0, 10**6), ResidentPixels.of_array(images, torch.device("cpu")), context)
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
