"""Checkpoints: what is saved comes back, byte for byte, from one file without pickle."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError, safe_open

from pipeline.checkpoint import Checkpoint, CheckpointWriter

NAME = "state.safetensors"
FACTS = {"history": [{"epoch": 1, "loss": 6.25, "note": "naïve"}], "arch": "resnet18", "empty": [], "none": None}


def tensors() -> dict[str, torch.Tensor]:
    """All kinds of tensors that a training has."""
    numbers = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(4, 6)
    return {
        "model.weight": numbers.float().requires_grad_(),
        "model.transposed": numbers.float().T,
        "model.half": numbers.to(torch.bfloat16),
        "model.steps": torch.tensor(7),
        "modelling.other": torch.zeros(0, 3),
        "confidence.draw_sum": numbers,
        "confidence.draws": torch.tensor([2**40, -1]),
        "momentum.0": torch.tensor([float("nan"), float("inf"), -0.0]),
    }


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    saved = tensors()
    Checkpoint(saved, FACTS).save(tmp_path / NAME)
    loaded = Checkpoint.load(tmp_path / NAME)
    assert loaded.facts == FACTS
    assert loaded.tensors.keys() == saved.keys()
    for name, tensor in saved.items():
        other = loaded.tensors[name]
        assert (other.dtype, other.shape) == (tensor.dtype, tensor.shape)
        assert not other.requires_grad and other.is_contiguous()
        torch.testing.assert_close(other, tensor.detach(), rtol=0, atol=0, equal_nan=True)


def test_one_file_that_others_can_read(tmp_path: Path) -> None:
    Checkpoint(tensors(), FACTS).save(tmp_path / NAME)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    with safe_open(tmp_path / NAME, framework="np") as file:
        assert json.loads(file.metadata()["facts"]) == FACTS
        assert file.get_tensor("confidence.draws").tolist() == [2**40, -1]


def test_saving_again_replaces(tmp_path: Path) -> None:
    Checkpoint({"a": torch.zeros(1000)}, {"epoch": 1}).save(tmp_path / NAME)
    Checkpoint({"b": torch.ones(2)}, {"epoch": 2}).save(tmp_path / NAME)
    loaded = Checkpoint.load(tmp_path / NAME)
    assert list(loaded.tensors) == ["b"] and loaded.facts == {"epoch": 2}


def test_a_part_is_found_by_its_whole_prefix() -> None:
    checkpoint = Checkpoint(tensors(), {})
    assert set(checkpoint.part("model")) == {"weight", "transposed", "half", "steps"}
    assert set(checkpoint.part("modelling")) == {"other"}
    assert checkpoint.part("confidence")["draw_sum"] is checkpoint.tensors["confidence.draw_sum"]
    assert checkpoint.part("mod") == {}


def test_facts_that_json_cannot_hold_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        Checkpoint({}, {"weights": torch.zeros(1)}).save(tmp_path / NAME)
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_file_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / NAME
    Checkpoint(tensors(), FACTS).save(path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(SafetensorError):
        Checkpoint.load(path)


def test_written_beside_training_as_it_was_when_it_was_given(tmp_path: Path) -> None:
    go_on, weights = threading.Event(), torch.zeros(3)

    @contextlib.contextmanager
    def writing() -> Iterator[Path]:
        assert go_on.wait(30)
        yield tmp_path / NAME

    writer = CheckpointWriter(writing)
    writer.write(Checkpoint({"weights": weights}, {"epoch": 1}))
    weights += 1  # training goes on
    assert not (tmp_path / NAME).exists()
    go_on.set()
    writer.finish()
    assert Checkpoint.load(tmp_path / NAME).tensors["weights"].tolist() == [0, 0, 0]
    writer.write(Checkpoint({"weights": weights}, {"epoch": 2}))
    writer.finish()
    assert Checkpoint.load(tmp_path / NAME).facts == {"epoch": 2}


def test_a_checkpoint_that_cannot_be_written_stops_the_training(tmp_path: Path) -> None:
    writer = CheckpointWriter(lambda: contextlib.nullcontext(tmp_path / "missing" / NAME))
    writer.write(Checkpoint({"a": torch.zeros(1)}, {}))
    with pytest.raises((OSError, SafetensorError)):
        writer.finish()
