"""The accumulator against plain lists of draws."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.artifacts import confidence_at
from pipeline.moco.confidence import ConfidenceAccumulator

TEMPERATURES = (0.2, 0.05)


def _run(
    seed: int = 0, size: int = 12, epochs: int = 4
) -> tuple[ConfidenceAccumulator, list[list[tuple[int, np.ndarray]]]]:
    rng = np.random.default_rng(seed)
    accumulator = ConfidenceAccumulator(size, TEMPERATURES)
    draws: list[list[tuple[int, np.ndarray]]] = []
    for _ in range(epochs):
        draws.append([])
        for _ in range(5):
            ids, values = rng.integers(0, size - 1, 7), rng.random((7, 2))  # ids repeat; the last id never comes
            accumulator.add(torch.from_numpy(ids), torch.from_numpy(values))
            draws[-1] += list(zip(ids.tolist(), values, strict=True))
        accumulator.end_epoch()
    return accumulator, draws


@pytest.mark.parametrize("column", [0, 1])
def test_moments_are_those_of_the_draws(column: int) -> None:
    accumulator, draws = _run()
    table = confidence_at(accumulator.table(), TEMPERATURES[column])
    for sample in range(11):
        every = [value[column] for epoch in draws for i, value in epoch if i == sample]
        means = [np.mean(own) for epoch in draws if (own := [value[column] for i, value in epoch if i == sample])]
        assert table.count[sample] == len(every)
        assert table.confidence[sample] == pytest.approx(np.mean(means), rel=1e-12)
        assert table.variability[sample] == pytest.approx(np.std(means), abs=1e-9)
        assert table.variability_draws[sample] == pytest.approx(np.std(every), abs=1e-9)
    assert table.count[11] == 0 and np.isnan(table.confidence[11])


def test_the_order_of_draws_within_an_epoch_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    ids, values = torch.from_numpy(rng.integers(0, 5, 40)), torch.from_numpy(rng.random((40, 2)))
    one, other = ConfidenceAccumulator(5, TEMPERATURES), ConfidenceAccumulator(5, TEMPERATURES)
    one.add(ids, values)
    for row in reversed(range(40)):
        other.add(ids[row : row + 1], values[row : row + 1])
    one.end_epoch(), other.end_epoch()
    torch.testing.assert_close(one.draw_sum, other.draw_sum)
    torch.testing.assert_close(one.epoch_squares, other.epoch_squares)


def test_state_survives_a_save_and_a_load() -> None:
    accumulator, _ = _run()
    copy = ConfidenceAccumulator(12, TEMPERATURES)
    copy.load_state_dict(accumulator.state_dict())
    for name in accumulator.table().column_names:
        np.testing.assert_array_equal(np.asarray(copy.table()[name]), np.asarray(accumulator.table()[name]))


def test_a_temperature_that_was_not_kept_is_refused() -> None:
    accumulator, _ = _run()
    with pytest.raises(ValueError, match=r"0\.3"):
        confidence_at(accumulator.table(), 0.3)


def test_row_order_in_the_file_does_not_matter() -> None:
    accumulator, _ = _run()
    table = accumulator.table()
    shuffled = table.take(np.random.default_rng(0).permutation(len(table)))
    np.testing.assert_array_equal(confidence_at(shuffled, 0.05).confidence, confidence_at(table, 0.05).confidence)


def test_one_draw_an_epoch_is_held_once_with_the_same_bits() -> None:
    rng = np.random.default_rng(2)
    plain, once = ConfidenceAccumulator(9, TEMPERATURES), ConfidenceAccumulator(9, TEMPERATURES, repeats=1)
    for _ in range(4):
        ids, values = torch.from_numpy(rng.permutation(9)[:7]), torch.from_numpy(rng.random((7, 2), np.float32))
        for each in (plain, once):
            each.add(ids[:3], values[:3])
            each.add(ids[3:], values[3:])
            each.end_epoch()
    for name in plain.table().column_names:
        np.testing.assert_array_equal(np.asarray(once.table()[name]), np.asarray(plain.table()[name]))
    held = [sum(tensor.nbytes for tensor in each.state_dict().values()) for each in (plain, once)]
    assert held == [9 * (32 * 2 + 16), 9 * (16 * 2 + 8)]


def test_two_draws_where_one_was_promised_are_refused() -> None:
    accumulator = ConfidenceAccumulator(9, TEMPERATURES, repeats=1)
    accumulator.add(torch.tensor([4, 4]), torch.rand(2, 2))
    with pytest.raises(ValueError, match="drawn 2 times"):
        accumulator.end_epoch()


def test_an_epoch_is_folded_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = _run()
    monkeypatch.setattr("pipeline.moco.confidence._ROWS_AT_ONCE", 5)
    parts, _ = _run()
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], tensor, atol=0, rtol=0)


@pytest.mark.parametrize("repeats", [None, 1])
def test_the_table_in_parts_is_the_whole(repeats: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    accumulator = ConfidenceAccumulator(12, TEMPERATURES, repeats)
    accumulator.add(torch.arange(9), torch.rand(9, 2, generator=torch.Generator().manual_seed(0)))
    accumulator.end_epoch()
    whole = accumulator.table()
    monkeypatch.setattr("pipeline.moco.confidence._ROWS_AT_ONCE", 5)
    parts = list(accumulator.tables())
    assert [len(part) for part in parts] == [5, 5, 2] * 2
    together = pa.concat_tables(parts)
    for name in whole.column_names:
        np.testing.assert_array_equal(np.asarray(together[name]), np.asarray(whole[name]))
    copy = accumulator.state_dict()
    with torch.device("meta"):  # as the training's end takes the sums over: none are made
        taken_over = ConfidenceAccumulator(12, TEMPERATURES, repeats)
    taken_over.load_state_dict(copy, assign=True)
    assert taken_over.table().to_pylist()[:9] == whole.to_pylist()[:9]
    assert taken_over.draws.data_ptr() == accumulator.draws.data_ptr()
