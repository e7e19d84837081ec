"""ProbCover and MaxHerding: one greedy coverage, by balls and by a kernel; slow loops, and scikit-activeml."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import skactiveml.pool

from pipeline.artifacts import Float32, Float64
from pipeline.errors import InputError
from pipeline.select import PoolView, ball_cover, facility_location, strategy
from pipeline.select.by_cluster import hardness
from pipeline.select.fresh_clusters import cluster_features
from pipeline.select.squared_distances import landmarks, squared_distances
from tests.unit.select.conftest import MakePool

pytestmark = pytest.mark.slow


def exact(features: Float32) -> Float64:
    """(N, N) squared distances in float64."""
    gaps = features[:, None].astype(np.float64) - features[None]
    return np.asarray((gaps**2).sum(axis=2))


def test_squared_distances(make_pool: MakePool) -> None:
    features = make_pool(60).features
    assert features is not None
    np.testing.assert_allclose(squared_distances(features[:20], features), exact(features)[:20], atol=2e-6)


def test_landmarks_are_all_or_a_sample() -> None:
    assert landmarks(5, 0, 5).tolist() == [0, 1, 2, 3, 4]
    drawn = landmarks(1000, 3, 50)
    assert len(set(drawn.tolist())) == 50 and (np.diff(drawn) > 0).all()
    assert drawn.tolist() == landmarks(1000, 3, 50).tolist() != landmarks(1000, 4, 50).tolist()


# ---- ProbCover ---------------------------------------------------------------------------


def radius(view: PoolView, seed: int = 0) -> float:
    assert view.features is not None
    classes = cluster_features(view.features, ball_cover.PSEUDO_CLASSES, seed).labels
    return float(np.sqrt(ball_cover.pure_radius_squared(view.features, classes, seed)))


def test_the_purity_rule_by_hand() -> None:
    """18 on a line, one apart, and a stranger beyond each end: 3 away at the left and 5 at the right."""
    places = np.r_[-3.0, np.arange(18.0), 22.0].astype(np.float32)[:, None]
    classes = np.r_[1, np.zeros(18, int), 1]
    # Of 20 balls one may be impure. Beyond 3 two are: that of the left stranger and that of its neighbour.
    assert ball_cover.pure_radius_squared(places, classes, 0) == pytest.approx(9)


def test_the_purity_rule_is_scikit_activemls(make_pool: MakePool) -> None:
    """The largest of any radii that theirs would take: just below ours it accepts, just above it does not."""
    view = make_pool(200)
    assert view.features is not None
    classes = cluster_features(view.features, ball_cover.PSEUDO_CLASSES, 0).labels
    delta = radius(view)

    class OurClasses:
        def __init__(self, n_clusters: int) -> None:
            assert n_clusters == ball_cover.PSEUDO_CLASSES

        def fit_predict(self, features: Float64) -> object:
            return classes

    method = skactiveml.pool.ProbCover(
        n_classes=10, deltas=[0.01, delta * (1 - 1e-5), delta * (1 + 1e-5)], cluster_algo=OurClasses, random_state=0
    )
    method.query(view.features.astype(np.float64), np.full(200, np.nan))
    assert method.delta_max_ == delta * (1 - 1e-5)


@pytest.mark.filterwarnings("ignore:The maximum purity")
@pytest.mark.parametrize("labelled", [0, 15])
def test_probcover_as_scikit_activeml_picks(make_pool: MakePool, labelled: int) -> None:
    """Of equals theirs draws one and ours has an order: so each of our picks must be among their best at that point.

    Their balls are closed and ours, like the authors', open: a radius just below ours makes them the same.
    """
    view = make_pool(200, labelled=labelled)
    assert view.features is not None
    order = strategy("probcover").query(view, 60, seed=0)
    known = np.zeros(200, bool) if view.labelled is None else view.labelled.copy()
    features = view.features.astype(np.float64)
    method = skactiveml.pool.ProbCover(deltas=[radius(view) * (1 - 1e-5)], random_state=0)
    gains = []
    for chosen in (order - 7) // 3:
        _, utilities = method.query(features, np.where(known, 0.0, np.nan), return_utilities=True)
        assert utilities[0][chosen] == np.nanmax(utilities[0])
        gains.append(utilities[0][chosen])
        known[chosen] = True
    assert len(set(gains)) > 3, "balls of many sizes were compared"


def test_of_equal_balls_the_seeds_order_decides() -> None:
    """Far apart, every ball holds its centre alone: all are equal, and the picks are the seed's permutation."""
    features = np.eye(30, dtype=np.float32)
    view = PoolView(np.arange(30), features=features)
    assert strategy("probcover").order(view, 4).tolist() == np.random.default_rng(4).permutation(30).tolist()


def test_probcover_on_landmarks_finds_the_clumps_that_all_samples_show(
    make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = make_pool(600, spread=0.05)
    assert view.features is not None
    clump = cluster_features(view.features, 6, 0).labels
    monkeypatch.setattr(ball_cover, "LANDMARKS", 100)
    monkeypatch.setattr(ball_cover, "PURITY_ROWS", 50)
    monkeypatch.setattr(ball_cover, "PSEUDO_CLASSES", 6)
    first = strategy("probcover").query(view, 6, seed=0)
    assert sorted(clump[(first - 7) // 3].tolist()) == list(range(6))


def test_too_many_edges_are_refused_not_held(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ball_cover, "MOST_EDGES", 300)
    with pytest.raises(InputError, match=r"holds 300 at most; take 'maxherding'"):
        strategy("probcover").query(make_pool(200), 5, seed=0)


# ---- MaxHerding, greedy medoids ----------------------------------------------------------


def slow_herding(kernel: Float64, labelled: list[int], budget: int) -> list[int]:
    """Algorithm 1 of the paper, every gain anew at every pick."""
    chosen = list(labelled)
    for _ in range(budget):
        covered = kernel[:, chosen].max(axis=1) if chosen else np.zeros(len(kernel))
        gains = [
            -1.0 if s in chosen else float(np.maximum(kernel[:, s] - covered, 0).mean()) for s in range(len(kernel))
        ]
        chosen.append(next(s for s in range(len(kernel)) if gains[s] >= max(gains) * (1 - facility_location.EQUAL)))
    return chosen[len(labelled) :]


@pytest.mark.parametrize("labelled", [0, 15])
@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("name", ["maxherding", "greedy-medoids", "hard-medoids"])
def test_facility_location_against_the_slow_loop(
    make_pool: MakePool, name: str, labelled: int, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not held:
        monkeypatch.setattr(facility_location, "HELD_BYTES", 0)
    rng = np.random.default_rng(1)
    view = replace(make_pool(200, labelled=labelled), cluster=np.arange(200, dtype=np.int32) % 4, k=4)
    view = replace(view, confidence=np.where(rng.random(200) < 0.05, np.nan, rng.random(200)))
    assert view.features is not None
    squared = exact(view.features)
    similar = np.exp(-squared) if name == "maxherding" else 2 - np.sqrt(squared)
    if name == "hard-medoids":
        similar *= slow_hardness(view)[:, None]
    expected = slow_herding(similar, view.labelled_rows.tolist(), 80)
    assert strategy(name).query(view, 80, seed=0).tolist() == view.sample_id[expected].tolist()


def slow_hardness(view: PoolView) -> Float64:
    """1 for the lowest confidence of a cluster, 0 for the highest, evenly between; NaN is above all numbers."""
    assert view.cluster is not None and view.confidence is not None
    found = np.zeros(len(view.cluster))
    for cluster in range(view.k):
        rows = [row for row in range(len(found)) if view.cluster[row] == cluster]
        rows.sort(key=lambda row: (np.isnan(view.confidence[row]), view.confidence[row], row))
        for place, row in enumerate(rows):
            found[row] = 1 - place / (len(rows) - 1) if len(rows) > 1 else 1.0
    return found


def test_hardness_by_hand() -> None:
    confidence = np.array([0.5, 0.1, 0.9, np.nan, 0.3, 0.2])
    cluster = np.array([0, 0, 0, 1, 1, 2], np.int32)
    view = PoolView(np.arange(6), cluster=cluster, confidence=confidence, k=4)
    assert hardness(view).tolist() == [0.5, 1, 0, 0, 1, 1]


def test_hard_medoids_go_where_the_hard_are_and_take_what_is_in_their_middle() -> None:
    """Two groups of three on a circle; all of the hard are in the second, whose middle is its easiest."""
    angles = np.array([0.0, 0.1, 0.2, 2.9, 3.0, 3.1])
    features = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    view = PoolView(
        np.arange(6), features=features, cluster=np.zeros(6, np.int32), k=1, confidence=np.array([3, 4, 5, 0, 2, 1.0])
    )
    assert strategy("hard-medoids").query(view, 2, seed=0).tolist() == [4, 0]
    assert strategy("greedy-medoids").query(view, 1, seed=0).tolist() != [4]


def test_greedy_medoids_begin_as_pam_does(make_pool: MakePool) -> None:
    """PAM's BUILD: the medoid of all first, then whatever lowers the sum of distances to the nearest medoid most."""
    view = make_pool(150)
    assert view.features is not None
    distance = np.sqrt(exact(view.features))
    rows = [int(distance.sum(axis=0).argmin())]
    for _ in range(9):
        sums = [np.minimum(distance[:, rows].min(axis=1), distance[:, s]).sum() for s in range(150)]
        rows.append(int(np.argmin(sums)))
    assert strategy("greedy-medoids").query(view, 10, seed=0).tolist() == view.sample_id[rows].tolist()


@pytest.mark.parametrize("labelled", [0, 15])
def test_maxherding_as_scikit_activeml_picks(make_pool: MakePool, labelled: int) -> None:
    """With the paper's kernel; their default is a wider one, 1 / D. Their mean leaves the labelled out, which are
    covered by themselves and add nothing to a gain."""
    view = make_pool(200, labelled=labelled)
    assert view.features is not None
    y = np.where(np.isin(np.arange(200), view.labelled_rows), 0.0, np.nan)
    method = skactiveml.pool.MaxHerding(metric_dict={"gamma": 1.0}, random_state=0)
    features = view.features.astype(np.float64)
    order = (strategy("maxherding").query(view, 60, seed=0) - 7) // 3
    # Two samples that cover each other alone gain the same, and rounding decides between them.
    assert order[:10].tolist() == method.query(features, y, batch_size=10).tolist()
    for chosen in order:
        _, utilities = method.query(features, y, return_utilities=True)
        assert utilities[0][chosen] == pytest.approx(np.nanmax(utilities[0]), rel=1e-5)
        y[chosen] = 0


@pytest.mark.parametrize("held", [True, False])
def test_a_hundred_copies_end_in_the_order_of_ids(held: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not held:
        monkeypatch.setattr(facility_location, "HELD_BYTES", 0)
    view = PoolView(np.arange(100), features=np.repeat(np.eye(2, dtype=np.float32), 50, axis=0))
    order = strategy("maxherding").order(view, seed=0).tolist()
    assert order[:2] == [0, 50]
    assert order[2:] == [i for i in range(100) if i not in (0, 50)]


def test_maxherding_on_landmarks_is_near_the_whole(make_pool: MakePool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The coverage of its picks, measured on the whole pool, against that of the exact picks and of random ones."""
    view = make_pool(600)
    assert view.features is not None
    kernel = np.exp(-exact(view.features))

    def coverage(name: str) -> float:
        return float(kernel[:, (strategy(name).query(view, 12, seed=0) - 7) // 3].max(axis=1).mean())

    whole = coverage("maxherding")
    monkeypatch.setattr(facility_location, "ALL_UP_TO", 0)
    monkeypatch.setattr(facility_location, "LANDMARKS", 150)
    sampled = coverage("maxherding")
    assert whole > sampled > coverage("random")
    assert sampled == pytest.approx(whole, rel=0.02)


def test_labelled_samples_cover(make_pool: MakePool) -> None:
    """Nothing of a clump that has a label is picked before every other clump has one."""
    view = make_pool(300, spread=0.05)
    assert view.features is not None
    clump = cluster_features(view.features, 6, 0).labels
    begun = dataclasses.replace(view, labelled=np.isin(np.arange(300), [np.flatnonzero(clump == c)[0] for c in (1, 4)]))
    for name in ("maxherding", "coreset"):
        picked = clump[(strategy(name).query(begun, 4, seed=0) - 7) // 3]
        assert sorted(picked.tolist()) == [0, 2, 3, 5]
