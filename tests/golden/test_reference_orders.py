"""The authors' own orders, from their clusters and ranks; and their coverage, from their orders.

``../shared/reference`` holds what they published (its README.md says how clusters and ranks were
recovered). Where it is absent a hand-made case of the same form still runs.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.evaluate.coverage import classes_covered
from pipeline.select import PoolView, strategy
from pipeline.select.by_cluster import easiest_first
from pipeline.select.round_robin import round_robin, visiting_order

REFERENCE = Path(__file__).parents[2] / ".." / "shared" / "reference"
DATASETS = ("cifar10lt", "bloodmnist", "dermamnist", "organamnist", "pathmnist")

needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="../shared/reference is not here")


def reference(name: str) -> dict[str, NDArray[Any]]:
    with np.load(REFERENCE / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays}


def view_of(cluster: NDArray[Any], rank: NDArray[Any]) -> PoolView:
    """Ranks stand for confidences: 0 is the hardest to contrast."""
    k = int(cluster.max()) + 1
    return PoolView(np.arange(len(cluster)), cluster.astype(np.int32), confidence=rank.astype(np.float64), k=k)


@needs_reference
@pytest.mark.parametrize("dataset", DATASETS)
def test_clusters_and_ranks_give_their_orders(dataset: str) -> None:
    arrays = reference(dataset)
    view = view_of(arrays["cluster"], arrays["rank_in_cluster"])
    assert view.k == 30
    assert view.cluster is not None and view.confidence is not None
    turns = np.arange(30)  # their cluster c is the c-th of the round robin
    assert np.array_equal(round_robin(view.cluster, view.confidence, turns), arrays["hard"])
    assert np.array_equal(round_robin(view.cluster, easiest_first(view.confidence), turns), arrays["easy"])


@needs_reference
@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize(("name", "theirs"), [("hard-to-contrast", "hard"), ("easy-to-contrast", "easy")])
def test_and_through_the_registry(dataset: str, name: str, theirs: str) -> None:
    """The clusters renumbered so that our seeded turns are theirs, the rows shuffled."""
    arrays = reference(dataset)
    rows = np.random.default_rng(1).permutation(len(arrays["cluster"]))
    whole = view_of(visiting_order(30, 4)[arrays["cluster"]], arrays["rank_in_cluster"])
    assert whole.cluster is not None
    assert whole.confidence is not None
    view = PoolView(whole.sample_id[rows], whole.cluster[rows], confidence=whole.confidence[rows], k=30)
    assert np.array_equal(strategy(name).order(view, seed=4), arrays[theirs])


def table_6() -> list[tuple[str, int, str]]:
    """(strategy, budget, coverage as printed) of CIFAR-10-LT; random has a mean of many draws, not an order."""
    if not REFERENCE.is_dir():
        return []
    with (REFERENCE / "paper_tables.csv").open(newline="") as lines:
        return [
            (row["strategy"], int(row["budget"]), row["mean"])
            for row in csv.DictReader(lines)
            if row["table"] == "6" and row["dataset"] == "cifar10-lt" and row["strategy"] != "random"
        ]


@needs_reference
def test_the_14_cells_of_table_6_on_cifar10_lt() -> None:
    arrays = reference("cifar10lt")
    cells = table_6()
    assert len(cells) == 14
    assert {budget for _, budget, _ in cells} == {24, 37}
    for name, budget, printed in cells:
        query = arrays["hard" if name == "hacon" else name][:budget]
        assert f"{classes_covered(arrays['labels'][query], 10):.2f}" == printed, (name, budget)


@needs_reference
def test_the_selector_itself_gives_hacons_two_cells() -> None:
    """Not from their order but from their clusters and ranks, through the round robin."""
    arrays = reference("cifar10lt")
    view = view_of(arrays["cluster"], arrays["rank_in_cluster"])
    assert view.cluster is not None and view.confidence is not None
    order = round_robin(view.cluster, view.confidence, np.arange(30))
    assert [classes_covered(arrays["labels"][order[:budget]], 10) for budget in (24, 37)] == [0.7, 0.8]


def test_a_small_case_by_hand() -> None:
    """The same as the reference in form: 9 samples, 3 clusters of 4, 2 and 3, visited 0, 1, 2."""
    #                   id 0  1  2  3  4  5  6  7  8
    cluster = np.array([2, 0, 1, 0, 2, 0, 0, 1, 2], np.int16)
    rank = np.array([1, 2, 0, 0, 0, 3, 1, 1, 2], np.int32)
    # Cluster 0, hardest first: 3 6 1 5; cluster 1: 2 7; cluster 2: 4 0 8.
    hard = [3, 2, 4, 6, 7, 0, 1, 8, 5]
    easy = [5, 7, 8, 1, 2, 0, 6, 4, 3]
    view = view_of(cluster, rank)
    assert view.cluster is not None and view.confidence is not None
    assert round_robin(view.cluster, view.confidence, np.arange(3)).tolist() == hard
    assert round_robin(view.cluster, easiest_first(view.confidence), np.arange(3)).tolist() == easy
    labels = np.array([0, 0, 1, 1, 2, 2, 3, 3, 0])
    # 3, 2, 4, 6 are of classes 1, 1, 2, 3: three of four; the next, 7, is 3 again and 0 brings the fourth.
    assert [classes_covered(labels[hard[:budget]], 4) for budget in (1, 4, 5, 6)] == [0.25, 0.75, 0.75, 1]
