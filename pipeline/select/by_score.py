"""Strategies by one number over the whole pool, without clusters; and chance.

The paper names those of its Table 1 and Table 6 (docs/method.md, section 4). N = samples, C = classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Float64, Int64
from pipeline.select.pool_view import PoolView
from pipeline.select.registry import register

MAP = "Swayamdipta et al., EMNLP 2020"


def lowest_first(view: PoolView, score: NDArray[np.floating[Any]], budget: int) -> Int64:
    """(budget,) ids of the unlabelled samples with the lowest score (N,); of equals the lower id; NaN last."""
    rows = view.unlabelled_rows
    return view.sample_id[rows[np.argsort(score[rows], kind="stable")[:budget]]]


@register(
    "lowest-confidence",
    family="ablation",
    needs=("confidence",),
    nests=True,
    paper="Chen et al., MIDL 2023",
    words="the images that training found hardest to tell apart from the others come first, wherever they lie",
    why="The hardest images of the whole pool, without regard to clusters: a study of what the clusters are good for.",
)
def lowest_confidence(view: PoolView, budget: int, seed: int) -> Int64:
    """Lowest confidence (Eq. 3) of the whole pool first; a sample that training never drew comes last.

    Source: the paper's ablation "without K-means" (Fig. 3; docs/method.md, section 4).
    """
    assert view.confidence is not None
    return lowest_first(view, view.confidence, budget)


@register(
    "random",
    family="published",
    nests=True,
    paper="chance",
    words="they were drawn by chance",
    why="Chance plays no favourites; clusters and confidence play no part in this order.",
)
def random_order(view: PoolView, budget: int, seed: int) -> Int64:
    """A seeded permutation of the pool, less what is labelled.

    The permutation is of the whole pool. So a query continues an earlier one whose samples were labelled.
    Source: the plain ``random`` of the paper's Table 6 (docs/method.md, decision 17).
    """
    rows = np.random.default_rng(seed).permutation(len(view.sample_id))
    if view.labelled is not None:
        rows = rows[~view.labelled[rows]]
    return view.sample_id[rows[:budget]]


@register(
    "entropy",
    family="published",
    needs=("probabilities",),
    nests=True,
    paper="Wang & Shang, IJCNN 2014",
    words="the images whose class a trained classifier is least sure of, by all classes, come first",
    why="The classifier has most to learn where its prediction is spread over many classes.",
)
def entropy(view: PoolView, budget: int, seed: int) -> Int64:
    """Highest entropy of the predicted probabilities first.

    Source: Wang & Shang, "A new active labeling method for deep learning" (IJCNN 2014).
    """
    assert view.probabilities is not None
    return lowest_first(view, -entropies(view.probabilities), budget)


def entropies(probabilities: NDArray[np.floating[Any]]) -> Float64:
    """(N, C) class probabilities -> (N,) entropy in nats; 0 log 0 is 0."""
    p = probabilities.astype(np.float64)
    return np.asarray(-(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1))


@register(
    "margin",
    family="published",
    needs=("probabilities",),
    nests=True,
    paper="Balcan et al., COLT 2007",
    words="the images between whose two most probable classes a trained classifier hesitates most come first",
    why="A label there moves the boundary between two classes.",
)
def margin(view: PoolView, budget: int, seed: int) -> Int64:
    """Smallest difference between the two most probable classes first.

    Source: Balcan, Broder & Zhang, "Margin based active learning" (COLT 2007).
    """
    assert view.probabilities is not None
    return lowest_first(view, margins(view.probabilities), budget)


def margins(probabilities: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """(N, C) class probabilities -> (N,) the largest less the second largest."""
    largest = np.sort(probabilities, axis=1)[:, -2:]
    return np.asarray(largest[:, -1] - largest[:, 0])


@register(
    "least-confidence",
    family="published",
    needs=("probabilities",),
    nests=True,
    paper="Lewis & Gale, SIGIR 1994",
    words="the images whose most probable class a trained classifier finds least probable come first",
    why="The classifier has most to learn where even its best guess is weak.",
)
def least_confidence(view: PoolView, budget: int, seed: int) -> Int64:
    """Lowest probability of the most probable class first.

    ``lowest-confidence`` is another strategy: its confidence is that of Eq. 3, and it needs no classifier.
    Source: Lewis & Gale, "A sequential algorithm for training text classifiers" (SIGIR 1994); not in the paper.
    """
    assert view.probabilities is not None
    return lowest_first(view, view.probabilities.max(axis=1), budget)


@register(
    "consistency",
    family="published",
    needs=("probability_views",),
    nests=True,
    paper="Gao et al., ECCV 2020",
    words="the images whose predicted class changes most under augmentation come first",
    why="A classifier that an altered view persuades otherwise has not understood the image.",
)
def consistency(view: PoolView, budget: int, seed: int) -> Int64:
    """Highest inconsistency over augmented copies first.

    Source: Gao et al., "Consistency-based semi-supervised active learning" (ECCV 2020).
    """
    return lowest_first(view, -inconsistency(view), budget)


def inconsistency(view: PoolView) -> Float64:
    """(N,) sum over the classes of the variance of the predicted probability over the augmented copies."""
    assert view.probability_views is not None
    return np.asarray(view.probability_views.var(axis=0, dtype=np.float64).sum(axis=1))


@register(
    "bald",
    family="published",
    needs=("probability_draws",),
    nests=True,
    paper="Houlsby et al. 2011; Gal et al., ICML 2017",
    words="the images on which passes of a classifier with dropout are each sure, and disagree most, come first",
    why="A label there tells which of the disagreeing classifiers is right.",
)
def bald(view: PoolView, budget: int, seed: int) -> Int64:
    """Highest mutual information between prediction and weights first.

    Source: Houlsby et al., "Bayesian active learning for classification and preference learning" (2011), with dropout
    as the posterior: Gal, Islam & Ghahramani (ICML 2017).
    """
    return lowest_first(view, -mutual_information(view), budget)


def mutual_information(view: PoolView) -> Float64:
    """(N,) entropy of the mean prediction less mean entropy of the predictions, in nats."""
    assert view.probability_draws is not None
    draws = view.probability_draws
    return np.asarray(
        entropies(draws.mean(axis=0, dtype=np.float64)) - np.mean([entropies(draw) for draw in draws], axis=0)
    )


@register(
    "vaal",
    family="published",
    needs=("labelled_score",),
    nests=True,
    paper="Sinha et al., ICCV 2019",
    words="the images that a discriminator finds least like the labelled ones come first",
    why="What looks unlike everything labelled so far is new.",
)
def vaal(view: PoolView, budget: int, seed: int) -> Int64:
    """Lowest probability of being labelled first.

    Source: Sinha, Ebrahimi & Darrell, "Variational adversarial active learning" (ICCV 2019).
    """
    assert view.labelled_score is not None
    return lowest_first(view, view.labelled_score, budget)


@register(
    "easy-to-learn",
    family="truth map",
    needs=("learnability",),
    nests=True,
    sees_labels=True,
    paper=MAP,
    words="the images whose true class a supervised training found most surely come first",
    why="For analysis only: it needs the labels of the whole pool.",
)
def easy_to_learn(view: PoolView, budget: int, seed: int) -> Int64:
    """Highest mean probability of the true class first, over the whole pool as in the authors' `gt_easy`.

    Source: Swayamdipta et al., "Dataset cartography" (EMNLP 2020); docs/method.md, section 2.
    """
    assert view.learnability is not None
    return lowest_first(view, -view.learnability, budget)


@register(
    "hard-to-learn",
    family="truth map",
    needs=("learnability",),
    nests=True,
    sees_labels=True,
    paper=MAP,
    words="the images whose true class a supervised training found least surely come first",
    why="For analysis only: it needs the labels of the whole pool.",
)
def hard_to_learn(view: PoolView, budget: int, seed: int) -> Int64:
    """Lowest mean probability of the true class first, over the whole pool as in the authors' `gt_hard`.

    Source: Swayamdipta et al., "Dataset cartography" (EMNLP 2020); docs/method.md, section 2.
    """
    assert view.learnability is not None
    return lowest_first(view, view.learnability, budget)


@register(
    "ambiguous-to-learn",
    family="truth map",
    needs=("learnability_variability",),
    nests=True,
    sees_labels=True,
    paper=MAP,
    words="the images about whose true class a supervised training changed its mind most come first",
    why="For analysis only: it needs the labels of the whole pool.",
)
def ambiguous_to_learn(view: PoolView, budget: int, seed: int) -> Int64:
    """Highest variability of the true class's probability first, over the whole pool as in the authors' `gt_ambiguous`.

    Source: Swayamdipta et al., "Dataset cartography" (EMNLP 2020); docs/method.md, section 2.
    """
    assert view.learnability_variability is not None
    return lowest_first(view, -view.learnability_variability, budget)
