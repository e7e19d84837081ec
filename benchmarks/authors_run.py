"""A run of ours on CIFAR-10-LT beside the authors': clusters, confidences, first picks.

    python -m benchmarks.authors_run ORDERS.npz --run RUN [--store STORE] [--seeds 5]

ORDERS.npz is ``../shared/reference/cifar10lt.npz``: their order, and the clusters and ranks it was made of. Theirs is
one training with ResNet-50 over 800 epochs and one unseeded UMAP, so agreement is a figure to report and never an
equality. Three questions, the last two at every temperature that the run has accumulated:

* clusters: adjusted Rand index and normalised mutual information of 30 clusters, in features and in their 2-D UMAP;
* confidence: Spearman's correlation of ours with their ranks, inside each of their clusters, mean over the clusters;
* picks: the share of their first B that is in ours. On "their clusters" only confidence differs.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import spearmanr
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from pipeline.artifacts import Float32, Float64, Int64, confidence_at
from pipeline.cluster import kmeans
from pipeline.cluster.umap2d import umap2d
from pipeline.on_ray.embeddings import all_features
from pipeline.on_ray.plan import CONFIDENCE
from pipeline.on_ray.session import ray_session
from pipeline.select import PoolView, strategy
from pipeline.select.round_robin import round_robin
from pipeline.stages import finished, run_folder
from pipeline.storage import Location, open_store

K = 30
BUDGETS = (24, 37, 124, 620)


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("orders")
    parse.add_argument("--run", required=True)
    parse.add_argument("--store", default="./hacon-store")
    parse.add_argument("--seeds", type=int, default=5, help="clusterings of ours")
    given = parse.parse_args()
    with np.load(given.orders) as arrays:
        theirs = {name: arrays[name].astype(np.int64) for name in ("hard", "cluster", "rank_in_cluster", "labels")}
    features, confidence = run_of(open_store(given.store), given.run)
    if len(features) != len(theirs["hard"]):
        raise SystemExit(f"The run has {len(features)} images, the orders are of {len(theirs['hard'])}.")
    seeds = range(given.seeds)
    clusters = [kmeans(features, K, seed).labels.astype(np.int64) for seed in seeds]
    flat = [kmeans(umap2d(features, seed), K, seed).labels.astype(np.int64) for seed in seeds]
    print(clusters_table({"features": clusters, "their 2-D UMAP": flat}, theirs["cluster"], theirs["labels"]))
    print()
    print(confidence_table(confidence, clusters, theirs))


def run_of(store: Location, run: str) -> tuple[Float32, dict[float, Float64]]:
    """Features (N, D), and confidence (N,) by temperature."""
    found = {stage: finished(store, run_folder(run, stage)) for stage in ("pretrain", "embeddings")}
    trained, embedded = found["pretrain"], found["embeddings"]
    if trained is None or embedded is None:
        raise SystemExit(f"Run '{run}' is not trained and embedded; first: hacon embed --run {run}")
    table = store.read_table(f"{trained['files']}/{CONFIDENCE}")
    temperatures = sorted(set(table["temperature"].to_pylist()), reverse=True)
    with ray_session(lambda text: None):
        features = all_features(store, embedded)
    return features, {each: confidence_at(table, each).confidence for each in temperatures}


def clusters_table(ours: dict[str, list[Int64]], theirs: Int64, labels: Int64) -> str:
    """Mean over our clusterings; how well either fits the classes stands beside it."""
    lines = ["| 30 clusters in | ARI with theirs | NMI with theirs | NMI with the classes |", "|---|---|---|---|"]
    for space, clusterings in ours.items():
        rand = np.mean([adjusted_rand_score(theirs, each) for each in clusterings])
        mutual = np.mean([normalized_mutual_info_score(theirs, each) for each in clusterings])
        classes = np.mean([normalized_mutual_info_score(labels, each) for each in clusterings])
        lines.append(f"| {space} | {rand:.3f} | {mutual:.3f} | {classes:.3f} |")
    lines.append(f"| theirs | | | {normalized_mutual_info_score(labels, theirs):.3f} |")
    return "\n".join(lines)


def confidence_table(confidence: dict[float, Float64], clusters: list[Int64], theirs: dict[str, Int64]) -> str:
    """A line a temperature; the last one is chance."""
    size = len(theirs["hard"])
    budgets = " | ".join(f"{budget}" for budget in BUDGETS)
    lines = [
        f"| tau | correlation | their clusters: {budgets} | our clusters: {budgets} |",
        "|---" * (2 + 2 * len(BUDGETS)) + "|",
    ]
    for temperature, values in confidence.items():
        # Their cluster c is the c-th of their round robin.
        on_theirs = round_robin(theirs["cluster"], values, np.arange(K))
        on_ours = [
            strategy("hard-to-contrast").order(
                PoolView(np.arange(size), cluster.astype(np.int32), confidence=values, k=K), seed
            )
            for seed, cluster in enumerate(clusters)
        ]
        shares = [_shared(on_theirs, theirs["hard"], budget) for budget in BUDGETS]
        shares += [float(np.mean([_shared(each, theirs["hard"], budget) for each in on_ours])) for budget in BUDGETS]
        cells = " | ".join(f"{share:.3f}" for share in shares)
        lines.append(f"| {temperature:g} | {correlation(values, theirs):.3f} | {cells} |")
    lines.append("| chance | 0 | " + " | ".join(f"{budget / size:.3f}" for budget in BUDGETS * 2) + " |")
    return "\n".join(lines)


def correlation(values: Float64, theirs: dict[str, Int64]) -> float:
    """Mean over their clusters; what training never drew is left out."""
    found = []
    for each in range(K):
        rows = np.flatnonzero((theirs["cluster"] == each) & ~np.isnan(values))
        found.append(spearmanr(values[rows], theirs["rank_in_cluster"][rows]).statistic)
    return float(np.mean(found))


def _shared(ours: Int64, theirs: Int64, budget: int) -> float:
    return len(np.intersect1d(ours[:budget], theirs[:budget])) / budget


if __name__ == "__main__":
    main()
