"""Settings fitted to the pool: chosen down with a note, or refused with the numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.config import PretrainConfig
from pipeline.errors import InputError
from pipeline.moco.fit_settings import fit_to_pool
from pipeline.presets import preset


@pytest.mark.parametrize(
    ("size", "repeats"), [(89_996, 14), (34_581, 37), (11_959, 105), (34_561, 37), (1_280_000, 1), (9**9, 1)]
)
def test_repeats_are_table_4s(size: int, repeats: int) -> None:
    fitted, notes = fit_to_pool(preset("medmnist").pretrain, size, 1)
    assert fitted.repeats == repeats
    assert (fitted.batch_size, fitted.queue_size) == (4096, 65_536) and not notes


def test_a_small_pool_gets_a_smaller_batch_and_queue_and_a_note_with_the_numbers() -> None:
    fitted, notes = fit_to_pool(PretrainConfig(batch_size=256, queue_size=4096, bn_splits=4), 203, 1)
    assert (fitted.batch_size, fitted.queue_size) == (200, 200)
    assert "256" in notes[0] and "200" in notes[0] and "4096" in notes[1]


def test_the_queue_holds_whole_batches() -> None:
    fitted, notes = fit_to_pool(PretrainConfig(batch_size=96, queue_size=1000, bn_splits=4), 10_000, 1)
    assert fitted.queue_size == 960 and len(notes) == 1


def test_a_training_too_short_to_learn_from_gets_a_note() -> None:
    small = preset("small").pretrain
    _, notes = fit_to_pool(small, 235, 1)
    assert any("12 steps (12 epochs of 1)" in note for note in notes)
    assert not any("steps" in note for note in fit_to_pool(small, 11_959, 1)[1])


@pytest.mark.parametrize(
    ("change", "size", "workers", "words"),
    [
        ({}, 9, 1, "pool of 9 images"),
        ({"batch_size": 100, "bn_splits": 8}, 1000, 1, "multiple"),
        ({"bn_splits": 4}, 1000, 5, "5 workers"),
    ],
)
def test_what_cannot_work_is_refused(change: dict[str, int], size: int, workers: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fit_to_pool(replace(PretrainConfig(bn_splits=8), **change), size, workers)
