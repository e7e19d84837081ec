"""Strategies with a K-means of their own: k-medoids and TypiClust, against slow loops and scikit-activeml."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import skactiveml.pool
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClusterMixin

from pipeline.artifacts import Float32, Int64
from pipeline.cluster import KMeansResult, kmeans
from pipeline.select import PoolView, fresh_clusters, strategy
from pipeline.select.by_features import mean_distances
from tests.unit.select.conftest import MakePool

BLOBS = np.array([0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2])
"""Clusters of 7, 6 and 3."""
LINE = np.array([0, 1, 2, 3, 4, 5, 9, 100, 101, 102, 103, 104, 109, 200, 201, 209], np.float32)[:, None]


@pytest.fixture
def three_blobs() -> PoolView:
    return PoolView(10 * np.arange(16), features=LINE)


def test_k_medoids_by_hand(three_blobs: PoolView) -> None:
    # Means: 24 / 7 = 3.43 (nearest 3), 619 / 6 = 103.17 (nearest 103), 203.33 (nearest 201).
    assert strategy("k-medoids").query(three_blobs, 3, seed=0).tolist() == [30, 100, 140]


def test_typiclust_by_hand(three_blobs: PoolView) -> None:
    """The middle of 0..5 and 9 by the mean distance to all six others is 3 (15 and 16 for 2: 2+1+1+2+3+7)."""
    sums = {place: np.abs(LINE[:7, 0] - place).sum() for place in LINE[:7, 0]}
    assert min(sums, key=lambda place: (sums[place], place)) == 3
    # Three of the clusters are asked for, but the one of 3 samples is too small: the largest has a second turn.
    assert strategy("typiclust").query(three_blobs, 3, seed=0).tolist()[:2] == [30, 90]
    assert strategy("typiclust").query(three_blobs, 3, seed=0).tolist()[2] in (20, 40)


def test_small_clusters_are_used_when_nothing_else_is_left(
    three_blobs: PoolView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh_clusters, "MOST_CLUSTERS", 3)
    order = strategy("typiclust").order(three_blobs, seed=0) // 10
    assert BLOBS[order[:13]].tolist() == [0, 1] * 6 + [0]
    assert BLOBS[order[13:]].tolist() == [2, 2, 2]


@pytest.mark.parametrize("name", ["k-medoids", "typiclust"])
def test_clusters_that_somebody_keeps_are_asked_for_and_change_nothing(make_pool: MakePool, name: str) -> None:
    view = make_pool(60)
    features, asked = view.features, list[tuple[int, int]]()
    assert features is not None

    def kept(k: int, seed: int) -> KMeansResult:
        asked.append((k, seed))
        return fresh_clusters.cluster_features(features, k, seed)

    for labelled in (None, np.arange(60) < 4):
        plain = replace(view, labelled=labelled)
        chosen = strategy(name).query(replace(plain, fresh_clusters=kept), 6, seed=3)
        assert chosen.tolist() == strategy(name).query(plain, 6, seed=3).tolist()
    assert asked == [(6, 3), (10, 3)]
    # Their rows are in the order of ids: a view of other rows, or in another order, has none.
    assert replace(view, fresh_clusters=kept).take(np.arange(60)[::-1]).fresh_clusters is None


def test_labelled_samples_have_clusters_of_their_own() -> None:
    """With one labelled and one to pick there are two clusters, and it is the turn of the one without a label."""
    features = np.array([0, 1, 2, 3, 4, 5, 100, 101, 102, 103, 104], np.float32)[:, None]
    view = PoolView(np.arange(11), features=features, labelled=np.arange(11) == 0)
    for name in ("k-medoids", "typiclust"):
        assert strategy(name).query(view, 1, seed=0).tolist() == [8]
        # Two more: three clusters, of which the one with the label comes last.
        assert 0 not in strategy(name).query(view, 2, seed=0).tolist()


def test_typicality_against_a_slow_loop(make_pool: MakePool) -> None:
    features = make_pool(90).features
    assert features is not None
    cluster = np.random.default_rng(0).integers(0, 3, 90)
    cluster[0] = 3  # alone
    found = mean_distances(features, cluster)
    for i in range(90):
        others = [j for j in range(90) if j != i and cluster[j] == cluster[i]]
        distances = sorted(float(np.linalg.norm(features[i].astype(float) - features[j])) for j in others)[:20]
        assert found[i] == pytest.approx(np.mean(distances) if distances else 0, rel=1e-5)


def test_k_medoids_takes_the_nearest_of_every_cluster(make_pool: MakePool) -> None:
    view = make_pool()
    assert view.features is not None
    found = kmeans(view.features, 12, seed=4, backend="sklearn", n_init=1)
    gaps = np.linalg.norm(view.features[None].astype(float) - found.centroids[:, None], axis=2)
    nearest = {int(i) for i in gaps.argmin(axis=1)}
    query = strategy("k-medoids").query(view, 12, seed=4)
    assert set(query.tolist()) == set(view.sample_id[sorted(nearest)].tolist())
    sizes = np.bincount(found.labels)[found.labels[(query - 7) // 3]]
    assert sizes.tolist() == sorted(sizes.tolist(), reverse=True)


class OurClusters(ClusterMixin, BaseEstimator):
    """scikit-activeml's K-means in the place of which ours stands."""

    def __init__(self, n_clusters: int = 8, seed: int = 0) -> None:
        self.n_clusters, self.seed = n_clusters, seed

    def fit_predict(self, X: NDArray[Any], y: Any = None, **_: Any) -> Int64:
        return kmeans(X.astype(np.float32), self.n_clusters, self.seed, backend="sklearn", n_init=1).labels


def their_typiclust(features: Float32, known: NDArray[np.bool_], budget: int) -> Int64:
    """With the paper's 20 neighbours; their default is 5."""
    method = skactiveml.pool.TypiClust(random_state=0, cluster_algo=OurClusters, k=20)
    picked: Int64 = method.query(features.astype(np.float64), np.where(known, 0.0, np.nan), batch_size=budget)
    return picked


@pytest.mark.parametrize(("seed", "labelled", "budget"), [(0, 0, 6), (1, 0, 9), (2, 3, 5), (3, 5, 6)])
def test_typiclust_as_scikit_activeml_picks(make_pool: MakePool, seed: int, labelled: int, budget: int) -> None:
    """On the same clusters, where none is small. Of clusters of one size theirs draws one, so the picks are compared as
    sets; where all sizes differ in order too."""
    view = make_pool(400, seed, labelled)
    assert view.features is not None
    known = np.zeros(400, bool) if view.labelled is None else view.labelled
    found = kmeans(view.features, labelled + budget, 0, backend="sklearn", n_init=1)
    sizes = np.bincount(found.labels)
    assert sizes.min() >= 5
    ours = strategy("typiclust").query(view, budget, seed=0).tolist()
    theirs = view.sample_id[their_typiclust(view.features, known, budget)].tolist()
    assert set(ours) == set(theirs)
    if len(set(sizes)) == len(sizes):
        assert ours == theirs


def test_where_typiclust_differs_from_scikit_activemls() -> None:
    """They take from clusters below five as well: the paper and its authors do not."""
    view = PoolView(np.arange(16), features=LINE)
    theirs = their_typiclust(LINE, np.zeros(16, bool), 3)
    assert BLOBS[theirs].tolist() == [0, 1, 2]
    assert BLOBS[strategy("typiclust").query(view, 3, seed=0)].tolist() == [0, 1, 0]


def test_copies_of_one_image_do_not_stop_a_budget() -> None:
    features = np.repeat(np.eye(4, dtype=np.float32), 10, axis=0)
    features[0] *= -0.0 + 1
    features[1, 1] = -0.0
    view = PoolView(np.arange(40), features=features)
    for name in ("k-medoids", "typiclust", "probcover"):
        assert len(set(strategy(name).query(view, 25, seed=0).tolist())) == 25
        first = strategy(name).query(view, 4, seed=0) // 10
        assert sorted(first.tolist()) == [0, 1, 2, 3]
