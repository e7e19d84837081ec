"""The number of workers changes nothing: losses, weights, gradients, queue and sums, with 1, 2 and 3 gloo workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing

from pipeline.checkpoint import Checkpoint
from tests.gloo import workers
from tests.reading import draws


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[Checkpoint]]:
    folder = tmp_path_factory.mktemp("gloo")
    for world in (1, 2, 3):
        torch.multiprocessing.spawn(workers.train, (world, str(folder)), nprocs=world)
    return {w: [Checkpoint.load(Path(folder) / f"{w}-{rank}.safetensors") for rank in range(w)] for w in (1, 2, 3)}


@pytest.mark.parametrize("world", [2, 3])
def test_losses_and_accuracy_are_those_of_one_worker(runs: dict[int, list[Checkpoint]], world: int) -> None:
    for one, other in zip(runs[1][0].facts["history"], runs[world][0].facts["history"], strict=True):
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert other["accuracy"] == one["accuracy"]


@pytest.mark.parametrize("world", [2, 3])
def test_the_first_gradient_is_that_of_one_worker(runs: dict[int, list[Checkpoint]], world: int) -> None:
    one, other = runs[1][0].part("first_gradient"), runs[world][0].part("first_gradient")
    assert one.keys() == other.keys() and len(one) > 5
    largest = max(float(gradient.abs().max()) for gradient in one.values())
    assert largest > 1e-3, "a gradient of nothing would prove nothing"
    for name, gradient in one.items():
        torch.testing.assert_close(other[name], gradient, atol=1e-6 * largest + 1e-8, rtol=1e-4)


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("part", ["model", "confidence", "momentum"])
def test_weights_queue_and_sums_are_those_of_one_worker(
    runs: dict[int, list[Checkpoint]], world: int, part: str
) -> None:
    one, other = runs[1][0].part(part), runs[world][0].part(part)
    assert one.keys() == other.keys() and one
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, atol=2e-5, rtol=1e-3, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_draw_is_counted_exactly_once(runs: dict[int, list[Checkpoint]], world: int) -> None:
    expected = draws(workers.task().sampler, workers.CONFIG.epochs)
    for checkpoint in runs[world]:
        assert np.array_equal(checkpoint.part("confidence")["draws"].numpy(), expected)


@pytest.mark.parametrize("world", [2, 3])
def test_all_workers_end_with_the_same_state(runs: dict[int, list[Checkpoint]], world: int) -> None:
    first = runs[world][0].tensors
    for checkpoint in runs[world][1:]:
        for name, tensor in first.items():
            torch.testing.assert_close(checkpoint.tensors[name], tensor, atol=0, rtol=0)


def test_workers_begin_alike_or_not_at_all(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(workers.agree, (2, str(tmp_path)), nprocs=2)
    first, second = (Checkpoint.load(tmp_path / f"agreed-{rank}.safetensors").part("model") for rank in range(2))
    assert first.keys() == second.keys() and len(first) > 5
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert (tmp_path / "refused-0").exists() and (tmp_path / "refused-1").exists()
