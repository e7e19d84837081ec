"""Features against the network as it was trained: batch norm and normalisation apart."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.data.views import normalise
from pipeline.embed import on_worker_threads
from pipeline.embed.moco import Embedder
from pipeline.moco.model import build_encoder


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_folded_changes_nothing(channels: int) -> None:
    torch.manual_seed(0)
    encoder = build_encoder("resnet18", 16)
    for layer in encoder.modules():
        if isinstance(layer, nn.BatchNorm2d):  # as after a training: statistics of its own
            assert layer.running_mean is not None and layer.running_var is not None
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
    weights = {name: value.clone() for name, value in encoder.state_dict().items()}
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28, channels), dtype=np.uint8)
    found = Embedder(weights, "resnet18", torch.device("cpu"))(images)

    encoder.fc = nn.Identity()
    with torch.no_grad():
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32) / 255
        expected = encoder.eval()(normalise(pixels)).numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert found.shape == (6, 512) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found - found[0]).max() > 1e-3, "images are told apart"
    assert all(torch.equal(value, weights[name]) for name, value in encoder.state_dict().items() if name in weights)


def test_lanes_give_what_a_plain_map_gives_in_its_order() -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), np.uint8)
    embedder = Embedder(build_encoder("resnet18", 8).state_dict(), "resnet18", torch.device("cpu"))
    parts = np.array_split(images, 7)
    found = list(on_worker_threads(embedder, parts, 2))
    assert [len(part) for part in found] == [len(part) for part in parts]
    np.testing.assert_allclose(np.concatenate(found), embedder(images), atol=2e-6)


def test_lanes_work_side_by_side_and_read_no_further_than_they_need() -> None:
    read: list[int] = []
    together = threading.Barrier(3, timeout=60)  # broken unless three are at work at once

    def parts() -> Iterator[int]:
        for part in range(9):
            read.append(part)
            yield part

    def work(part: int) -> tuple[int, int]:
        together.wait()
        return part, torch.get_num_threads()

    threads = torch.get_num_threads()
    for number, (part, of_its_own) in enumerate(on_worker_threads(work, parts(), 3)):
        assert part == number and of_its_own == max(1, threads // 3)
        assert len(read) <= number + 4
    assert len(read) == 9 and torch.get_num_threads() == threads


@pytest.mark.parametrize("count", [1, 2])
def test_a_lane_that_fails_fails_the_whole_and_leaves_no_thread(count: int) -> None:
    def work(part: int) -> int:
        if part == 3:
            raise ValueError("part 3")
        return part

    threads, running = torch.get_num_threads(), threading.active_count()
    with pytest.raises(ValueError, match="part 3"):
        list(on_worker_threads(work, range(100), count))
    given_up = on_worker_threads(work, range(3), count)
    assert next(given_up) == 0
    given_up.close()
    assert torch.get_num_threads() == threads and threading.active_count() == running
