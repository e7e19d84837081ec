"""The arithmetic behind the table: ratios round by round, what counts as spent, the page."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

from speed.__main__ import page
from speed.measure import Row, alternate, lacking, ratio, speed, stopwatch
from speed.pool import many


def test_candidates_take_turns_and_the_warm_up_is_not_counted() -> None:
    calls: list[str] = []
    seconds = alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2, warm_up=1)
    assert "".join(calls) == "ab" + "ba" + "ab"
    assert [len(times) for times in seconds.values()] == [2, 2]


def test_a_ratio_is_taken_round_by_round() -> None:
    # 2, 3 and 1 times; the ratio of the medians, 9 over 9, would be 1.
    assert ratio({"slow": [2.0, 30.0, 9.0], "fast": [1.0, 10.0, 9.0]}, "slow", "fast") == 2.0


def test_a_speed_is_the_median_and_the_spread() -> None:
    assert speed([2.0, 1.0, 4.0], items=4000) == "2,000/s (1,000 to 4,000)"


def test_a_stopwatch_adds_up_calls_and_leaves_no_trace() -> None:
    def nap() -> str:
        time.sleep(0.01)
        return "rested"

    place = SimpleNamespace(nap=nap, rest=nap)
    with stopwatch({"naps": [(place, "nap"), (place, "rest")], "nothing": []}) as spent:
        assert [place.nap(), place.rest()] == ["rested", "rested"]
    assert spent["naps"] >= 0.02 and spent["nothing"] == 0
    assert place.nap is nap


def test_peers_that_are_missing_are_named() -> None:
    assert lacking("json", "numpy") is None
    assert "no_such_peer" in (lacking("json", "no_such_peer") or "")


@pytest.mark.parametrize(("met", "word"), [(True, "yes"), (False, "**no**"), (None, "not measured")])
def test_the_page_says_whether_a_goal_is_met(met: bool | None, word: str) -> None:
    text = page({"row": Row("Speed", "3x", ">= 2x", met, [("ours", "30/s")])})
    assert f"| Speed | 3x | >= 2x | {word} |" in text
    assert "### Speed" in text and "* ours: 30/s" in text


def test_repeated_images_are_all_different() -> None:
    pictures = many(np.zeros((3, 4, 4, 3), np.uint8), 70_000)
    assert pictures.shape == (70_000, 4, 4, 3)
    assert len(np.unique(pictures.reshape(70_000, -1)[:, :3], axis=0)) == 70_000
