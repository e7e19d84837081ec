"""The loop in one process: counts, resume, learning rate, and that it learns."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from pipeline.config import PretrainConfig
from pipeline.context import LocalContext
from pipeline.moco.model import MoCo, batch_norms
from pipeline.moco.plain_step import PlainTraining
from pipeline.moco.resident import ResidentPixels
from pipeline.moco.task import PretrainTask
from pipeline.moco.train import Pretraining, pretrain
from pipeline.progress import Progress
from tests.reading import draws

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
    assert np.array_equal(counted, draws(_task().sampler, 3))
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


def test_an_epoch_is_the_plain_one() -> None:
    """Weights, queue and sums against ``moco.step``, which is written to be read."""
    task, pixels = _task(), _pixels()
    training, plain = Pretraining(task, torch.device("cpu")), PlainTraining(task)
    training.worker_threads.begin_epoch()
    for step in task.sampler.epoch(0):
        loss, correct = training.step(step, 0, pixels).tolist()
        mean_loss, accuracy = plain.step(step, 0, pixels.of(step.ids))
        assert loss / len(step.ids) == pytest.approx(mean_loss.item(), rel=1e-4)
        assert correct / len(step.ids) == pytest.approx(accuracy.item())
    for ours, theirs in zip(training.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(training.model.queue, plain.model.queue, rtol=1e-3, atol=1e-4)
    for accumulator in (training.confidence, plain.confidence):
        accumulator.end_epoch()
    assert torch.equal(training.confidence.draws, plain.confidence.draws)
    torch.testing.assert_close(training.confidence.draw_sum, plain.confidence.draw_sum, rtol=2e-3, atol=1e-6)
    torch.testing.assert_close(training.confidence.epoch_squares, plain.confidence.epoch_squares, rtol=5e-3, atol=1e-6)


def test_a_gradient_is_the_plain_one() -> None:
    """Of the first step, to float32's rounding; later ones are of weights that have come apart a little."""
    training, plain = Pretraining(_task(), torch.device("cpu")), PlainTraining(_task())
    step = next(training.sampler.epoch(0))
    training.step(step, 0, _pixels())
    plain.step(step, 0, _pixels().of(step.ids))
    torch.testing.assert_close(training.model.queue, plain.model.queue)
    ours, theirs = training.model.query_encoder.named_parameters(), plain.model.query_encoder.parameters()
    for (name, parameter), other in zip(ours, theirs, strict=True):
        assert other.grad is not None
        torch.testing.assert_close(parameter.grad, other.grad, msg=lambda text, n=name: f"{n}: {text}")


def test_the_weights_move_as_plain_sgd_moves_them() -> None:
    """torch's fused SGD on a CPU is silently wrong where a gradient lies in memory otherwise than its weight."""
    training = Pretraining(_task(), torch.device("cpu"))
    ours = list(training.model.query_encoder.parameters())
    assert any(weight.dim() == 4 and not weight.is_contiguous() for weight in ours)
    theirs = [weight.detach().clone().requires_grad_() for weight in ours]
    plain = torch.optim.SGD(
        theirs, momentum=CONFIG.sgd_momentum, weight_decay=CONFIG.weight_decay, foreach=False, fused=False
    )
    for step in training.sampler.epoch(0):
        training.step(step, 0, _pixels())
        plain.param_groups[0]["lr"] = training.learning_rate(0, step.index)
        for weight, other in zip(ours, theirs, strict=True):
            other.grad = weight.grad
        plain.step()
        for weight, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(weight, other, rtol=1e-5, atol=1e-7)
    momenta = training.checkpoint().part("momentum")
    for index, other in enumerate(theirs):
        torch.testing.assert_close(momenta[str(index)], plain.state[other]["momentum_buffer"], rtol=1e-5, atol=1e-7)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Which two splits take as two worker threads, whatever this machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(
    ("pixels_at_once", "rows"),
    [
        (1, [[8, 8], []]),
        (8 * 64, [[8, 8], []]),  # one split fits, two side by side do not
        (2 * 8 * 64, [[8], [8]]),
        (1 << 22, [[8], [8]]),
    ],
)
def test_worker_threads_and_parts_of_whole_splits_make_no_difference(
    pixels_at_once: int, rows: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = _task()
    torch.set_num_threads(1)
    expected = Pretraining(task, torch.device("cpu"))
    torch.set_num_threads(2)
    monkeypatch.setattr("pipeline.moco.fast.worker_threads.PIXELS_AT_ONCE", pixels_at_once)
    training = Pretraining(task, torch.device("cpu"))
    seen: list[list[int]] = [[], []]
    for thread, model in enumerate(training.worker_threads.models):
        batch_norms(model.query_encoder)[0].register_forward_pre_hook(
            lambda _, args, thread=thread: seen[thread].append(len(args[0]))
        )
        assert all(layer.split_rows == 8 for layer in batch_norms(model))
    metrics = [each.run_epoch(0, _pixels(), Progress("", 1, lambda _: None)) for each in (expected, training)]
    steps = task.sampler.steps
    assert seen == [each * steps for each in rows]
    assert metrics[0]["loss"] == pytest.approx(metrics[1]["loss"], rel=1e-5)
    ours, theirs = training.checkpoint().tensors, expected.checkpoint().tensors
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=2e-4, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.usefixtures("two_threads")
def test_worker_threads_share_weights_and_queue_but_not_gradients_and_statistics() -> None:
    one, other = Pretraining(_task(), torch.device("cpu")).worker_threads.models
    assert one.queue is other.queue
    for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert ours is not theirs and ours.data_ptr() == theirs.data_ptr()
        assert ours.requires_grad == theirs.requires_grad
    for ours, theirs in zip(batch_norms(one), batch_norms(other), strict=True):
        for mine, its in zip(ours.statistics, theirs.statistics, strict=True):
            assert mine.data_ptr() != its.data_ptr()


@pytest.mark.usefixtures("two_threads")
def test_what_goes_wrong_in_a_worker_thread_is_told_and_the_threads_are_given_back() -> None:
    threads_of = Pretraining(_task(), torch.device("cpu")).worker_threads
    threads: list[int] = []

    def fail(model: MoCo, part: slice) -> None:
        threads.append(torch.get_num_threads())
        if part.start:
            raise ValueError("the second thread")

    with pytest.raises(ValueError, match="the second thread"):
        threads_of.each(fail, torch.zeros(16, 1, 8, 8))
    assert threads == [1, 1] and torch.get_num_threads() == 2


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


@pytest.mark.slow
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
