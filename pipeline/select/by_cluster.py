"""Strategies by which given clusters take turns: equal numbers from each (Algorithm 1 of the paper).

Inside a cluster the lowest of a number comes first; of equals, the lower id.
"""

from __future__ import annotations

import numpy as np

from pipeline.artifacts import Float32, Float64, Int64
from pipeline.select.pool_view import PoolView
from pipeline.select.registry import register
from pipeline.select.round_robin import in_turns, visiting_order

HACON = "Chen et al., MIDL 2023"


@register(
    "hard-to-contrast",
    family="contrast map",
    needs=("cluster", "confidence"),
    nests=True,
    paper=HACON,
    words="the images that training found hardest to tell apart from the others come first",
    why="The paper's premise: an image that the network confuses with the others looks like them. So it is typical, "
    "and a label for it says something about many. After short trainings we found that this often does not hold "
    "(docs/dev/moco-orders.md).",
)
def hard_to_contrast(view: PoolView, budget: int, seed: int) -> Int64:
    """HaCon: lowest confidence first inside each cluster, the clusters in turn.

    A sample that training never drew comes last.
    Source: Algorithm 1 of the paper; docs/method.md, section 1 and decision 8.
    """
    assert view.cluster is not None and view.confidence is not None
    return in_turns(view, view.cluster, view.confidence, visiting_order(view.k, seed), budget)


@register(
    "easy-to-contrast",
    family="contrast map",
    needs=("cluster", "confidence"),
    nests=True,
    paper=HACON,
    words="the images that training found easiest to tell apart from the others come first",
    why="The paper holds that these are outliers, which is why its order is the opposite one.",
)
def easy_to_contrast(view: PoolView, budget: int, seed: int) -> Int64:
    """Highest confidence first inside each cluster, the clusters in turn.

    Each cluster's own order is that of hard-to-contrast reversed, ties included.
    Source: the dataset map of the paper (docs/method.md, section 2) and the order `easy` of the authors.
    """
    assert view.cluster is not None and view.confidence is not None
    return in_turns(view, view.cluster, easiest_first(view.confidence), visiting_order(view.k, seed), budget)


def easiest_first(confidence: Float64) -> Float64:
    """(N,) the negative rank of a confidence: ties in reverse order of id; NaN stays last."""
    from scipy.stats import rankdata  # half a second to load

    return -rankdata(confidence, "ordinal", nan_policy="omit").astype(np.float64)


@register(
    "ambiguous",
    family="contrast map",
    needs=("cluster", "variability"),
    nests=True,
    paper=HACON,
    words="the images whose confidence changed most during training come first",
    why="These are the images about which the network changed its mind most often.",
)
def ambiguous(view: PoolView, budget: int, seed: int) -> Int64:
    """Highest variability first inside each cluster, the clusters in turn.

    Source: the dataset map of the paper (docs/method.md, section 2) and the order `ambiguous` of the authors.
    """
    assert view.cluster is not None and view.variability is not None
    return in_turns(view, view.cluster, -view.variability, visiting_order(view.k, seed), budget)


@register(
    "closest-to-centroid",
    family="ablation",
    needs=("cluster", "distance"),
    nests=True,
    paper=HACON,
    words="the images nearest to their cluster's centre come first",
    why="The image in the middle of a cluster is taken as typical of it; confidence plays no part in this order.",
)
def closest_to_centroid(view: PoolView, budget: int, seed: int) -> Int64:
    """Smallest distance to the centroid first inside each cluster, the clusters in turn.

    Source: the paper's ablation "without hard-to-contrast" (Fig. 3; docs/method.md, section 4).
    """
    assert view.cluster is not None and view.distance is not None
    return in_turns(view, view.cluster, view.distance, visiting_order(view.k, seed), budget)


@register(
    "pixel-clusters",
    family="ablation",
    needs=("pixel_cluster", "pixel_distance"),
    nests=True,
    paper=HACON,
    words="the images nearest to the centre of their cluster of raw pixels come first",
    why="Clusters of pixels, without a trained network: a study of what its features are good for.",
)
def pixel_clusters(view: PoolView, budget: int, seed: int) -> Int64:
    """Smallest distance to the centroid first inside each cluster of raw pixels, the clusters in turn.

    Source: the paper's ablation "without contrastive features" (Fig. 3; docs/method.md, section 4).
    """
    assert view.pixel_cluster is not None and view.pixel_distance is not None
    turns = visiting_order(view.pixel_k, seed)
    return in_turns(view, view.pixel_cluster, view.pixel_distance, turns, budget)


def hardness(view: PoolView) -> Float32:
    """(N,) rank of a confidence in its cluster: 1 for the lowest, 0 for the highest; never drawn counts as highest."""
    assert view.cluster is not None and view.confidence is not None
    rows = np.lexsort((view.confidence, view.cluster))
    sizes = np.bincount(view.cluster, minlength=view.k)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    found = np.empty(len(rows), np.float32)
    found[rows] = 1 - place / np.maximum(np.repeat(sizes, sizes) - 1, 1)
    return found
