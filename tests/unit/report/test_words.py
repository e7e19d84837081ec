from __future__ import annotations

import math
from typing import Any

import pytest

from pipeline.report import words
from pipeline.select.registry import STRATEGIES
from pipeline.stages.query import HERE

ORDERS = [name for name, each in STRATEGIES.items() if HERE.issuperset(each.needs)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.000"),
        (0.0771, "0.077"),
        (0.001, "0.001"),
        (0.00012, "1.2e-04"),
        (8.3789, "8.379"),
        (123456.7, "123,457"),
        (math.nan, "n/a"),
        (math.inf, "n/a"),
        (-0.5, "-0.500"),
    ],
)
def test_number(value: float, text: str) -> None:
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0%"), (1, "100%"), (0.875, "88%"), (0.0225, "2.2%"), (0.00192, "0.19%"), (1e-6, "0.0001%")]
)
def test_percent(share: float, text: str) -> None:
    assert words.percent(share) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.6, "1 min 0 s"),
        (185, "3 min 5 s"),
        (3599.7, "1 h 0 min"),
        (7805, "2 h 10 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("item", "text"), [(None, "none"), (True, "true"), ((0.2, 0.05), "0.2, 0.05"), ("", "(empty)"), (4096, "4096")]
)
def test_value(item: Any, text: str) -> None:
    assert words.value(item) == text


def test_settings_keep_every_leaf() -> None:
    groups = words.settings_groups({"run": "a", "cluster": {"k": None, "deep": {"er": 1}}, "seed": 3})
    assert groups == [("run", [("run", "a"), ("seed", 3)]), ("cluster", [("k", None), ("deep.er", 1)])]


@pytest.mark.parametrize(("key", "name"), [("a/b/c.png", "c.png"), ("17", "17"), ("a/b/", "b"), ("/", "/")])
def test_short_name(key: str, name: str) -> None:
    assert words.short_name(key) == name


def test_every_order_of_the_main_job_has_its_own_words() -> None:
    assert all("the order is" not in words.lede(7, 40, 3, order) for order in ORDERS)
    assert len({words.words_of(order) for order in ORDERS}) == len(ORDERS)
    assert words.words_of("my_module:pick") == ("the order is 'my_module:pick'", "The order is 'my_module:pick'.")


@pytest.mark.parametrize("order", ORDERS)
def test_clusters_take_turns_only_where_they_do(order: str) -> None:
    by_clusters = order in ("hard-to-contrast", "easy-to-contrast", "ambiguous", "closest-to-centroid")
    for text in (words.lede(7, 40, 3, order), words.read_clusters(order)):
        assert ("take turns" in text) == by_clusters
    assert ("from each" in words.why(order, 0.05, 3, 7)[1][1]) == by_clusters


@pytest.mark.parametrize(
    ("budget", "share"), [(30, "Taking 1 from"), (60, "Taking 2 from"), (11, "Taking at most one"), (100, "about 3.3")]
)
def test_the_share_of_a_cluster(budget: int, share: str) -> None:
    assert share in words.why("hard-to-contrast", 0.05, 30, budget)[1][1]


def test_gauges_stay_on_their_scale() -> None:
    coverage = words.coverage_gauge(1.0, 8, mean=0.97, std=0.08)
    assert (coverage.value, coverage.at, coverage.high) == ("8 of 8", 1.0, 1.0)
    assert coverage.low == pytest.approx(0.89)
    assert coverage.verdict == "within random's spread"
    entropy = words.entropy_gauge(2.9, 8, mean=2.65, std=0.1)
    assert entropy.at == pytest.approx(2.9 / 3)
    assert entropy.verdict == "above random's spread"
    assert words.entropy_gauge(-0.0, 1, 0.0, 0.0).value == "0.00 bits"


def test_the_map_says_where_the_clusters_came_from() -> None:
    assert "full features" in words.read_embedding_map("UMAP", 5, 5, 2, 2, "features")
    assert "umap2d" in words.read_embedding_map("UMAP", 5, 5, 2, 2, "umap2d")
    assert "1 of the 2 are on the map" in words.read_embedding_map("UMAP", 5, 9, 1, 2, "features")


def test_one_epoch_has_no_change_to_see() -> None:
    assert "To the right" not in words.read_dataset_map(1) and "more than one epoch" in words.read_dataset_map(1)
    assert "To the right" in words.read_dataset_map(2)


@pytest.mark.parametrize(
    ("losses", "said", "unsaid"),
    [
        ([6.4], "The loss was 6.400 after 1 epoch (2.0 s).", "second"),
        ([6.4, 6.9], "After 2 epochs (4.0 s) the loss is 6.900. The first epoch does not compare", "second"),
        ([6.4, 6.9, 6.5], "After 3 epochs (6.0 s) the loss is 6.500, from 6.900 in the second.", "6.400"),
    ],
)
def test_the_training_is_described_from_its_second_epoch(losses: list[float], said: str, unsaid: str) -> None:
    """The first one's negatives are noise: its loss is lower than any that follows."""
    found = words.read_training([{"loss": loss, "seconds": 2.0} for loss in losses])
    assert found.startswith(said) and unsaid not in found
