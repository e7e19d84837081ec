"""The search for one nested order: candidates beside strategies that ship, by coverage and by the probe.

    python -m benchmarks.order_search --run RUN --budgets 11,23,59,119,620 [--store STORE] [--seeds 5] [--only NAME ...]
                                      [--share .8]

With ``--share`` every seed sees another random part of the pool, so that an order which does not depend on the seed
shows how much chance there is in it.

On a run that `hacon benchmark` has worked on with the probe (the test split's features are read from there). A
candidate chooses without labels; labels and the test split judge it only. A candidate that nests is asked once, for
the largest budget, and its prefixes are judged. What came of it: docs/results.md, and docs/log.md for what failed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.neighbors import NearestNeighbors

from jobs.arguments import configure, parser
from pipeline.artifacts import Float32, Float64, Int64, confidence_at
from pipeline.cluster import default_k, kmeans
from pipeline.cluster.umap2d import umap2d
from pipeline.evaluate.classifiers.probe import fit_probe
from pipeline.evaluate.coverage import classes_covered, entropy_bits
from pipeline.evaluate.metrics import balanced_accuracy, macro_auc_with_chance, quality
from pipeline.evaluate.samples import EvaluationData
from pipeline.on_ray.evaluation import evaluation_of, opened
from pipeline.on_ray.plan import CONFIDENCE
from pipeline.select import PoolView, strategy
from pipeline.select.by_features import NEIGHBOURS, mean_distances
from pipeline.select.facility_location import lazy_greedy
from pipeline.select.fresh_clusters import largest_first
from pipeline.select.round_robin import in_turns, round_robin, visiting_order
from pipeline.select.squared_distances import landmarks, squared_distances

LANDMARKS = 4000
CLUSTERS = 30
STARTS = 2
"""Of a K-means; ten at 2,048 dimensions are minutes."""

Pick = Callable[[PoolView, int, int], Int64]


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--run", required=True)
    parse.add_argument("--store", default="./hacon-store")
    parse.add_argument("--budgets", required=True)
    parse.add_argument("--seeds", type=int, default=5)
    parse.add_argument("--temperature", type=float, default=0.05)
    parse.add_argument("--share", type=float, help="of the pool that each seed sees, drawn by the seed")
    parse.add_argument("--only", nargs="+", choices=[*FRESH, *NESTED], metavar="NAME")
    given = parse.parse_args()
    budgets = [int(each) for each in given.budgets.split(",")]
    data, view = opened_run(given.store, given.run, given.temperature)
    print("| order | nests | " + " | ".join(map(str, budgets)) + " |\n" + "|---" * (2 + len(budgets)) + "|")
    for name in given.only or [*FRESH, *NESTED]:
        queries: dict[int, list[Int64]] = {budget: [] for budget in budgets}
        for seed in range(given.seeds):
            rows, seen = part_of(view, given.share, seed)
            order = NESTED[name](seen, max(budgets), seed) if name in NESTED else None
            for budget in budgets:
                found = FRESH[name](seen, budget, seed) if order is None else order[:budget]
                queries[budget].append(rows[found])
        judge = judged if given.share is None else judged_with_spread
        cells = " | ".join(judge(data, queries[budget]) for budget in budgets)
        print(f"| {name} | {'yes' if name in NESTED else 'no'} | {cells} |", flush=True)


def opened_run(store: str, run: str, temperature: float) -> tuple[EvaluationData, PoolView]:
    """The labels that judge; and what a candidate sees."""
    config, place = configure(
        vars(parser("benchmark").parse_args(["--store", store, "--run", run, "--classifier", "probe"]))
    )
    given = opened(evaluation_of(config, config.benchmark, place)[0])
    table = confidence_at(place.read_table(f"{given.stage('pretrain')['files']}/{CONFIDENCE}"), temperature)
    view = PoolView(
        given.data.train.ids,
        features=given.data.train.vectors(),
        confidence=table.confidence,
        variability=table.variability,
    )
    return given.data, view


def part_of(view: PoolView, share: float | None, seed: int) -> tuple[Int64, PoolView]:
    """(ids of the samples that are seen, the view of them with ids 0, 1, ...): all of them where there is no share."""
    size = len(view.sample_id)
    if share is None:
        return np.arange(size), view
    rows = np.sort(np.random.default_rng(seed).choice(size, int(share * size), replace=False))
    return rows, replace(view.take(rows), sample_id=np.arange(len(rows)))


def judged_with_spread(data: EvaluationData, queries: list[Int64]) -> str:
    """Means: coverage, balanced accuracy, AUC where a missing class counts 50, and the standard error of that."""
    classes = len(data.classes)
    figures = []
    for ids in queries:
        labels = data.train.labels[ids]
        predicted = fit_probe(data.train.take(np.sort(ids)), classes).predict(data.test)
        auc = macro_auc_with_chance(data.test.labels, predicted, labels)
        balanced = balanced_accuracy(data.test.labels, predicted)
        figures.append((classes_covered(labels, classes), balanced, auc))
    covered, balanced, auc = np.mean(figures, axis=0)
    error = np.std([each[2] for each in figures], ddof=1) / np.sqrt(len(figures))
    return f"{covered:.2f} {balanced:.1f} {auc:.1f} ± {error:.1f}"


def judged(data: EvaluationData, queries: list[Int64]) -> str:
    """Means: coverage, entropy, balanced accuracy; and AUC, of the queries that cover all classes, and how many."""
    classes = len(data.classes)
    covered, entropy, balanced, auc = [], [], [], []
    for ids in queries:
        labels = data.train.labels[ids]
        covered.append(classes_covered(labels, classes))
        entropy.append(entropy_bits(labels))
        probe = fit_probe(data.train.take(np.sort(ids)), classes)
        found = quality(data.test.labels, probe.predict(data.test), labels)
        balanced.append(found.balanced_accuracy)
        if found.auc is not None:
            auc.append(found.auc)
    mean = f" {np.mean(auc):.1f} ({len(auc)})" if auc else ""
    return f"{np.mean(covered):.2f} {np.mean(entropy):.2f} {np.mean(balanced):.1f}{mean}"


# ---- candidates -------------------------------------------------------------------------------


def shipped(name: str, view: PoolView, budget: int, seed: int, k: int | None = None) -> Int64:
    """A strategy of ``pipeline.select``, on a clustering of its own."""
    return strategy(name).query(_clustered(view, k or default_k(budget), seed), budget, seed)


def greedy(
    view: PoolView,
    budget: int,
    seed: int,
    similarity: Callable[[Float32], Float32],
    among: Callable[[PoolView], NDArray[np.bool_]] | None = None,
    weight: Callable[[PoolView], Float64] | None = None,
) -> Int64:
    """Facility location: the pick that most raises the landmarks' sum of the best similarity to a pick.

    Args:
        similarity: squared distances -> similarities, 0 or more.
        among: rows that may be picked; none: all.
        weight: of a row where it is a landmark; none: 1.
    """
    features = view.features
    assert features is not None
    chosen = landmarks(len(features), seed, LANDMARKS)
    points = features[chosen]
    weights = np.ones(len(chosen), np.float32) if weight is None else weight(view)[chosen].astype(np.float32)
    rows = np.arange(len(features)) if among is None else np.flatnonzero(among(view))

    def kernels(places: Int64) -> Float32:
        return similarity(squared_distances(features[rows[places]], points)) * weights

    return rows[lazy_greedy(kernels, len(rows), np.zeros(len(points), np.float32), budget)]


def gaussian(scale: float) -> Callable[[Float32], Float32]:
    """exp(-d^2 / scale)."""
    return lambda squared: np.exp(-squared / np.float32(scale))


def several_scales(squared: Float32) -> Float32:
    """Mean of Gaussians of scales .05, .2 and .8."""
    return np.mean([gaussian(scale)(squared) for scale in (0.05, 0.2, 0.8)], axis=0, dtype=np.float32)


def medoids(squared: Float32) -> Float32:
    """2 - d: then the sum that falls is that of the distances to the nearest pick, as in k-medoids."""
    return 2 - np.sqrt(squared)


def means(squared: Float32) -> Float32:
    """4 - d^2: as in K-means."""
    return 4 - squared


def dense(share: float) -> Callable[[PoolView], NDArray[np.bool_]]:
    """The ``share`` of the pool with the nearest neighbours."""

    def among(view: PoolView) -> NDArray[np.bool_]:
        assert view.features is not None
        distance = mean_distances(view.features, np.zeros(len(view.features), np.int32))
        return np.asarray(distance <= np.quantile(distance, share))

    return among


def hard(share: float) -> Callable[[PoolView], NDArray[np.bool_]]:
    """The hardest ``share`` to contrast of each of 30 clusters."""
    return lambda view: _rank_in_cluster(_clustered(view, CLUSTERS, 0), "confidence") <= share


def hardness(view: PoolView, least: float = 0.0) -> Float64:
    """1 for the hardest to contrast of a cluster, ``least`` for the easiest."""
    return 1 - (1 - least) * _rank_in_cluster(_clustered(view, CLUSTERS, 0), "confidence")


def core_first(view: PoolView, budget: int, seed: int, share: float, k: int) -> Int64:
    """HaCon inside the ``share`` of each cluster that is nearest to its centroid, then the rest."""
    clustered = _clustered(view, k, seed)
    assert clustered.cluster is not None and clustered.confidence is not None
    outside = _rank_in_cluster(clustered, "distance") > share
    key = _ranks(clustered.confidence) + len(outside) * outside
    return in_turns(clustered, clustered.cluster, key, visiting_order(clustered.k, seed), budget)


def smooth_hardness(view: PoolView, budget: int, seed: int) -> Int64:
    """HaCon by the mean confidence of an image and its nearest neighbours instead of its own."""
    clustered = _clustered(view, default_k(budget), seed)
    return strategy("hard-to-contrast").query(replace(clustered, confidence=_smoothed(view)), budget, seed)


def hardness_beside_distance(view: PoolView, budget: int, seed: int) -> Int64:
    """HaCon by what the distance from the centroid leaves unexplained of the confidence, in ranks."""
    clustered = _clustered(view, default_k(budget), seed)
    confidence, distance = (_rank_in_cluster(clustered, name) for name in ("confidence", "distance"))
    assert clustered.cluster is not None
    for each in range(clustered.k):
        rows = np.flatnonzero(clustered.cluster == each)
        if len(rows) > 2:
            slope, start = np.polyfit(distance[rows], confidence[rows], 1)
            confidence[rows] -= slope * distance[rows] + start
    return strategy("hard-to-contrast").query(replace(clustered, confidence=confidence), budget, seed)


def in_umap(view: PoolView, budget: int, seed: int) -> Int64:
    """HaCon with 30 clusters of a 2-D UMAP, as the authors' code has it."""
    if seed not in _FLAT:
        assert view.features is not None
        _FLAT[seed] = umap2d(view.features, seed)
    found = kmeans(_FLAT[seed], CLUSTERS, seed, n_init=STARTS)
    clustered = replace(view, cluster=found.labels, distance=found.distance, k=CLUSTERS)
    return strategy("hard-to-contrast").query(clustered, budget, seed)


def largest_cluster_first(view: PoolView, budget: int, seed: int) -> Int64:
    """HaCon with K = 30, its clusters in the order of their sizes."""
    clustered = _clustered(view, CLUSTERS, seed)
    assert clustered.cluster is not None and clustered.confidence is not None
    turns = largest_first(np.bincount(clustered.cluster, minlength=CLUSTERS))
    return in_turns(clustered, clustered.cluster, clustered.confidence, turns, budget)


def falling(view: PoolView, budget: int, seed: int, stages: tuple[tuple[int, float | None], ...]) -> Int64:
    """Herding whose Gaussian narrows: in turn up to so many picks at such a scale, wide first, for coverage.

    Args:
        stages: (picks, scale); none: the landmarks' mean squared distance to the nearest pick so far.
    """
    features = view.features
    assert features is not None
    points = features[landmarks(len(features), seed, LANDMARKS)]
    picks = np.empty(0, np.int64)
    for upto, given in stages:
        nearest = np.full(len(points), np.float32(4.0))
        for start in range(0, len(picks), 1024):
            found = squared_distances(features[picks[start : start + 1024]], points).min(axis=0)
            np.minimum(nearest, found, out=nearest)
        scale = given or (float(nearest.mean()) if len(picks) else 1.0)
        similarity = gaussian(scale)
        rows = np.setdiff1d(np.arange(len(features)), picks)
        covered = similarity(nearest) if len(picks) else np.zeros(len(points), np.float32)

        def kernels(
            places: Int64, rows: Int64 = rows, similarity: Callable[[Float32], Float32] = similarity
        ) -> Float32:
            return similarity(squared_distances(features[rows[places]], points))

        more = min(upto, budget) - len(picks)
        if more > 0:
            picks = np.concatenate([picks, rows[lazy_greedy(kernels, len(rows), covered, more)]])
    return picks


def covering_turns(view: PoolView, budget: int, seed: int, share: float, growth: float = 0.0) -> Int64:
    """HaCon with K = 30 inside the core of each cluster, its clusters in the order in which their centres cover most.

    Args:
        share: of each cluster, the nearest to its centroid: at its first turn.
        growth: by how much the share grows a turn.
    """
    clustered = _clustered(view, CLUSTERS, seed)
    features, cluster, confidence = view.features, clustered.cluster, clustered.confidence
    assert features is not None and cluster is not None and confidence is not None
    sizes = np.bincount(cluster, minlength=CLUSTERS)
    centres = np.stack([features[cluster == each].mean(axis=0) for each in range(CLUSTERS)])
    wide = gaussian(1.0)

    def kernels(places: Int64) -> Float32:
        return wide(squared_distances(centres[places], centres)) * sizes.astype(np.float32)

    turns = lazy_greedy(kernels, CLUSTERS, np.zeros(CLUSTERS, np.float32), CLUSTERS)
    far = _rank_in_cluster(clustered, "distance")
    key = np.empty(len(cluster))
    for each in range(CLUSTERS):
        rows = np.flatnonzero(cluster == each)
        left = list(rows[np.argsort(confidence[rows], kind="stable")])
        for turn in range(len(rows)):
            bound = min(1.0, share + growth * turn)
            place = next((i for i, row in enumerate(left) if far[row] <= bound), 0)
            key[left.pop(place)] = turn
            if turn > budget:
                key[left] = turn + 1 + np.arange(len(left))
                break
    return in_turns(clustered, cluster, key, turns, budget)


def herding_first(
    view: PoolView, budget: int, seed: int, first: int, scale: float, share: float, growth: float
) -> Int64:
    """``first`` picks that cover, then ``covering_turns``; a cluster that has a pick has had a turn."""
    picks = greedy(view, first, seed, gaussian(scale))
    rest = covering_turns(view, len(view.sample_id), seed, share, growth)
    clustered = _clustered(view, CLUSTERS, seed)
    cluster = clustered.cluster
    assert cluster is not None
    rest = rest[~np.isin(rest, picks)]
    had = np.bincount(cluster[picks], minlength=CLUSTERS)
    rank = np.empty(len(cluster))
    rank[rest] = np.arange(len(rest))
    order = rest[round_robin(cluster[rest], rank[rest], _first_seen(cluster[rest]), had)]
    return np.concatenate([picks, order])[:budget]


def _first_seen(labels: NDArray[np.int32]) -> Int64:
    """The different labels, in the order in which they first come."""
    values, first = np.unique(labels, return_index=True)
    return values[np.argsort(first)].astype(np.int64)


def splits(view: PoolView, budget: int, seed: int, power: float = 1.0, middles: int | None = None) -> Int64:
    """A hierarchy: the widest group is split in two, and the half without a pick gets its middle.

    Args:
        power: of the variance, by which the number of samples is multiplied: 1 is the sum of squares, 0 the number.
        middles: after so many picks a half gives one of its samples by chance instead.
    """
    features = view.features
    assert features is not None
    rng = np.random.default_rng(seed)
    groups = [np.arange(len(features))]
    picks = [_middle(features, groups[0])]
    spread = [_spread(features, groups[0], power)]
    while len(picks) < budget:
        worst = int(np.argmax(spread))
        rows = groups[worst]
        half = kmeans(features[rows], 2, seed, backend="sklearn", n_init=1).labels
        own = half[np.flatnonzero(rows == picks[worst])[0]]
        groups[worst], new = rows[half == own], rows[half != own]
        groups.append(new)
        by_chance = middles is not None and len(picks) >= middles
        picks.append(int(rng.choice(new)) if by_chance else _middle(features, new))
        spread[worst] = _spread(features, groups[worst], power)
        spread.append(_spread(features, new, power))
    return np.array(picks)


def _middle(features: Float32, rows: Int64) -> int:
    return int(rows[np.argmin(((features[rows] - features[rows].mean(axis=0)) ** 2).sum(axis=1))])


def _spread(features: Float32, rows: Int64, power: float) -> float:
    squares = float(((features[rows] - features[rows].mean(axis=0)) ** 2).sum())
    return len(rows) * (squares / len(rows)) ** power


_FLAT: dict[int, Float32] = {}
_SMOOTH: dict[int, Float64] = {}


def _smoothed(view: PoolView) -> Float64:
    """(N,) mean confidence of each image and its nearest neighbours; what training never drew counts as easy."""
    assert view.confidence is not None
    key = hash(view.confidence.tobytes())
    if key not in _SMOOTH:
        known = np.nan_to_num(view.confidence, nan=1.0)
        search = NearestNeighbors(n_neighbors=NEIGHBOURS + 1, algorithm="brute").fit(view.features)
        _SMOOTH[key] = known[search.kneighbors(view.features)[1]].mean(axis=1)
    return _SMOOTH[key]


_CLUSTERINGS: dict[tuple[int, int, int], tuple[NDArray[np.int32], Float32]] = {}


def _clustered(view: PoolView, k: int, seed: int) -> PoolView:
    assert view.features is not None
    key = (k, seed, len(view.features))
    if key not in _CLUSTERINGS:
        found = kmeans(view.features, k, seed, n_init=STARTS)
        _CLUSTERINGS[key] = (found.labels, found.distance)
    cluster, distance = _CLUSTERINGS[key]
    return PoolView(view.sample_id, cluster, distance, view.confidence, view.variability, k, features=view.features)


def _ranks(values: Float64) -> Float64:
    """(N,) 1 for the lowest; of equals the earlier ranks lower; what is unknown comes last."""
    return rankdata(np.nan_to_num(values, nan=np.inf), "ordinal")


def _rank_in_cluster(view: PoolView, column: str) -> Float64:
    """(N,) 0 for the lowest of each cluster, 1 for the highest."""
    assert view.cluster is not None
    values, found = getattr(view, column), np.zeros(len(view.cluster))
    for each in range(view.k):
        rows = np.flatnonzero(view.cluster == each)
        found[rows] = (_ranks(values[rows]) - 1) / max(len(rows) - 1, 1)
    return found


FRESH: dict[str, Pick] = {
    name: partial(shipped, name)
    for name in ("random", "hard-to-contrast", "closest-to-centroid", "k-medoids", "typiclust")
} | {
    "hard-to-contrast, K = budget": lambda view, budget, seed: shipped(
        "hard-to-contrast", view, budget, seed, k=budget
    ),
    "hard-to-contrast, neighbourhood's": smooth_hardness,
    "hard-to-contrast, beside distance": hardness_beside_distance,
    "hard-to-contrast, 30 clusters in UMAP": in_umap,
}
"""Asked anew for every budget; of the paper's orders K = budget, at most 30."""
NESTED: dict[str, Pick] = {
    **{name: partial(shipped, name) for name in ("coreset", "probcover", "maxherding", "greedy-medoids")},
    "hard-to-contrast, K = 30": partial(shipped, "hard-to-contrast", k=CLUSTERS),
    "hard-to-contrast, K = 30, largest first": largest_cluster_first,
    **{
        f"hard-to-contrast, K = 30, nearest {share:.0%} first": partial(core_first, share=share, k=CLUSTERS)
        for share in (0.1, 0.3)
    },
    **{
        f"herding, exp(-d^2 / {scale:g})": partial(greedy, similarity=gaussian(scale))
        for scale in (0.05, 0.2, 0.5, 1.0)
    },
    "herding, three scales": partial(greedy, similarity=several_scales),
    "greedy medoids": partial(greedy, similarity=medoids),
    "greedy means": partial(greedy, similarity=means),
    "greedy medoids, dense half": partial(greedy, similarity=medoids, among=dense(0.5)),
    "greedy medoids, hard half": partial(greedy, similarity=medoids, among=hard(0.5)),
    "greedy medoids, hard tenth": partial(greedy, similarity=medoids, among=hard(0.1)),
    **{
        f"greedy medoids, hard landmarks{f', {least:g} the least' if least else ''}": partial(
            greedy, similarity=medoids, weight=partial(hardness, least=least)
        )
        for least in (0.0, 0.2, 0.5)
    },
    "splits in two": splits,
    "splits in two, by distances": partial(splits, power=0.5),
    "splits in two, by number": partial(splits, power=0.0),
    "splits in two, by distances, chance from 40 on": partial(splits, power=0.5, middles=40),
    "splits in two, chance from 40 on": partial(splits, middles=40),
    "herding, .5 to 30 picks, then .05": partial(falling, stages=((30, 0.5), (10**9, 0.05))),
    **{
        f"herding, 1 to {first} picks, then .5": partial(falling, stages=((first, 1.0), (10**9, 0.5)))
        for first in (20, 40, 80)
    },
    "herding, 1 to 40 picks, then .2": partial(falling, stages=((40, 1.0), (10**9, 0.2))),
    "herding, 1 to 16 picks, .2 to 64, then .05": partial(falling, stages=((16, 1.0), (64, 0.2), (10**9, 0.05))),
    "herding, as wide as what is left": partial(
        falling, stages=((8, 1.0), *((2**power, None) for power in range(4, 16)), (10**9, None))
    ),
    "core of 30%, covering turns": partial(covering_turns, share=0.3),
    "core of 30% and 5% a turn, covering turns": partial(covering_turns, share=0.3, growth=0.05),
    "whole clusters, covering turns": partial(covering_turns, share=1.0),
    **{
        f"herding, {scale:g}, {first} picks, then core of 30% and 5% a turn": partial(
            herding_first, first=first, scale=scale, share=0.3, growth=0.05
        )
        for scale in (0.5, 1.0)
        for first in (16, 30)
    },
}
"""Asked once."""


if __name__ == "__main__":
    main()
