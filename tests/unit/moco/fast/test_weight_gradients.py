"""Gradients that threads leave to one another, against an ordinary backward pass."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from pipeline.moco.fast.small_maps import SmallMapConv2d
from pipeline.moco.fast.weight_gradients import WeightGradients
from pipeline.moco.fast.worker_threads import WorkerThreads
from pipeline.moco.model import MoCo, convolutions

pytestmark = pytest.mark.usefixtures("tiny_encoder", "three_threads")
ROWS, SPLIT = 24, 8


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def views() -> Tensor:
    return torch.rand(ROWS, 3, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def threads() -> WorkerThreads:
    threads = WorkerThreads(MoCo("resnet18", 16, 24, 0.9, 0, SPLIT), SPLIT, ROWS, torch.device("cpu"))
    assert len(threads.models) == 3
    return threads


def _learn(views: Tensor, before: Callable[[int], None] = lambda thread: None) -> Callable[[MoCo, slice], int]:
    """Forward and backward, after ``before``."""

    def learn(model: MoCo, part: slice) -> int:
        before(part.start // SPLIT)
        model.query_encoder(views[part]).square().mul(torch.arange(16.0)).sum().backward()
        return part.start

    return learn


def _gradients(model: MoCo) -> list[Tensor]:
    gradients = [weight.grad for weight in model.query_encoder.parameters()]
    assert all(gradient is not None for gradient in gradients)
    return [gradient for gradient in gradients if gradient is not None]


def test_they_are_those_of_one_backward_pass_in_the_memory_order_of_the_weights(
    threads: WorkerThreads, views: Tensor
) -> None:
    assert threads.backward(_learn(views), views) == [0, 8, 16]
    plain = MoCo("resnet18", 16, 24, 0.9, 0, SPLIT)
    _learn(views)(plain, slice(0, ROWS))
    for ours, theirs in zip(_gradients(threads.models[0]), _gradients(plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    for layer in convolutions(threads.models[0].query_encoder):
        assert layer.weight.grad is not None and layer.weight.grad.stride() == layer.weight.stride()
        assert layer.defer is None


def test_whoever_has_time_makes_them_and_the_bits_are_the_same(
    threads: WorkerThreads, views: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = len(convolutions(threads.models[0].query_encoder))
    makers: list[int] = []
    late_thread: list[int] = []
    all_made = threading.Event()
    make, finish = WeightGradients._make, WeightGradients.finish

    def made(self: WeightGradients, number: int) -> None:
        makers.append(threading.get_ident())
        make(self, number)
        if len(makers) == layers:
            all_made.set()

    def finish_late(self: WeightGradients) -> None:
        assert threading.get_ident() not in late_thread or all_made.wait(20), "the others make what all have told"
        finish(self)

    monkeypatch.setattr(WeightGradients, "_make", made)
    monkeypatch.setattr(WeightGradients, "finish", finish_late)
    found = []
    for late in range(3):
        makers.clear(), late_thread.clear(), all_made.clear()
        threads.backward(
            _learn(
                views, lambda thread, late=late: late_thread.append(threading.get_ident()) if thread == late else None
            ),
            views,
        )
        found.append(_gradients(threads.models[0]))
        assert len(makers) == layers and late_thread and late_thread[0] not in makers
    for first, *others in zip(*found, strict=True):
        assert all(torch.equal(first, other) for other in others)


def test_layers_go_by_tiles_and_by_torch(threads: WorkerThreads) -> None:
    """So that the tests here see both: on 4 x 4 maps, taps meet pixels 10 squared times, with stride 2 5 squared."""
    layers = convolutions(threads.models[0].query_encoder)
    assert [bool(layer.tiles(torch.empty(1, 1, 4, 4))) for layer in layers] == [False, True]
    assert [layer.multiplications(torch.empty(1, 1, 4, 4)) for layer in layers] == [100 * 3 * 16, 25 * 16 * 32]


@pytest.mark.parametrize("fails", [0, 1, 2])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_lane_that_fails_keeps_nobody_waiting_and_the_next_step_is_whole(
    threads: WorkerThreads, views: Tensor, fails: int, when: str
) -> None:
    def fail(model: MoCo, part: slice) -> None:
        if part.start // SPLIT != fails or when == "after":
            _learn(views)(model, part)
        if part.start // SPLIT == fails:
            raise ValueError("of a thread")

    with pytest.raises(ValueError, match="of a thread"):
        threads.backward(fail, views)
    assert all(layer.defer is None for model in threads.models for layer in convolutions(model))
    _assert_a_whole_step(threads, views)


def test_a_gradient_that_cannot_be_made_is_told_and_keeps_nobody_waiting(
    threads: WorkerThreads, views: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: WeightGradients, number: int) -> None:
        raise MemoryError("of a layer")

    with monkeypatch.context() as patch:
        patch.setattr(WeightGradients, "_make", fail)
        with pytest.raises(MemoryError, match="of a layer"):
            threads.backward(_learn(views), views)
    _assert_a_whole_step(threads, views)


def _assert_a_whole_step(threads: WorkerThreads, views: Tensor) -> None:
    """The bits of threads that have done nothing before."""
    new = WorkerThreads(MoCo("resnet18", 16, 24, 0.9, 0, SPLIT), SPLIT, ROWS, torch.device("cpu"))
    for each in (threads, new):
        each.backward(_learn(views), views)
    for ours, theirs in zip(_gradients(threads.models[0]), _gradients(new.models[0]), strict=True):
        assert torch.equal(ours, theirs)


def test_under_autocast_every_lane_makes_its_own(threads: WorkerThreads, views: Tensor) -> None:
    def learn(model: MoCo, part: slice) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = model.query_encoder(views[part])
        found.square().mul(torch.arange(16.0)).sum().backward()

    threads.backward(learn, views)
    assert all(layer.weight.grad is not None for model in threads.models for layer in convolutions(model.query_encoder))
    one = WorkerThreads(MoCo("resnet18", 16, 24, 0.9, 0, SPLIT), SPLIT, SPLIT, torch.device("cpu"))
    for start in range(0, ROWS, SPLIT):
        learn(one.models[0], slice(start, start + SPLIT))
    for ours, theirs in zip(_gradients(threads.models[0]), _gradients(one.models[0]), strict=True):
        assert torch.dist(ours, theirs) < 0.02 * theirs.norm()  # bfloat16 keeps eight bits


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (1, 1), (1, 2)])
@pytest.mark.parametrize("side", [1, 2, 9])
def test_the_gradient_by_the_weight_alone_is_autograds(side: int, size: int, stride: int) -> None:
    """By tiles where maps are small, by torch where they are not; of all rows, and of some added to others'."""
    plain = torch.nn.Conv2d(5, 6, size, stride, size // 2, bias=False).to(memory_format=torch.channels_last)
    maps = torch.rand(4, 5, side, side, generator=torch.Generator().manual_seed(0))
    out = plain(maps)
    gradient = torch.rand(out.shape, generator=torch.Generator().manual_seed(1))
    out.backward(gradient)
    assert plain.weight.grad is not None
    ours = SmallMapConv2d.like(plain)
    assert bool(ours.tiles(maps)) == (side < 9)
    of_some = ours.weight_gradient(maps[:1], gradient[:1])
    for found in (ours.weight_gradient(maps, gradient), ours.weight_gradient(maps[1:], gradient[1:], of_some)):
        torch.testing.assert_close(found, plain.weight.grad)
        assert found.stride() == ours.weight.stride()
