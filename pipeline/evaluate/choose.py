"""A trial's query: by a strategy, by a published order, or by an oracle."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.artifacts import Int64
from pipeline.errors import InputError
from pipeline.evaluate import classifiers
from pipeline.evaluate.classifiers import Fitted, Resources
from pipeline.evaluate.oracle import random_covered, uniform_query
from pipeline.evaluate.parts import Parts, view_of
from pipeline.evaluate.samples import EvaluationData, Samples
from pipeline.evaluate.scorer import COPIES, DRAWS, DROPOUT, Scores, score_features, score_images
from pipeline.evaluate.spec import RANDOM_COVERED, TrialSpec
from pipeline.select import PoolView, strategy


def choose(spec: TrialSpec, data: EvaluationData, parts: Parts, resources: Resources) -> Int64:
    """(B,) sample ids to label, in order; with ``uniform`` possibly fewer, class after class.

    Raises:
        InputError: a part that the strategy needs is missing.
        ValueError: a budget that the pool cannot give.
    """
    classes, labels = len(data.classes), data.train.labels
    if spec.strategy == RANDOM_COVERED:
        if spec.uniform:
            raise InputError("'random_covered' covers all classes already; combine 'random' with uniform.")
        return random_covered(labels, classes, spec.budget, spec.seed)
    query, available = _query_of(spec, data, parts, resources)
    if spec.uniform:
        return uniform_query(query, labels, classes, spec.budget, available)
    return query(spec.budget)


def honest_scores(
    spec: TrialSpec, labelled: Samples, data: EvaluationData, parts: Parts, resources: Resources, fitted: Fitted | None
) -> Scores:
    """What a scorer of the classifier's kind, trained on ``labelled``, says of the pool, as far as the strategy asks.

    Args:
        fitted: a network that was trained on ``labelled`` with dropout already; none: one is trained.
    """
    needs = strategy(spec.strategy).needs
    draws = DRAWS if "probability_draws" in needs else 0
    if spec.classifier == "probe":
        return score_features(
            labelled,
            data.train.vectors(),
            len(data.classes),
            spec.seed,
            saw_test_labels=False,
            copies=parts.copies if "probability_views" in needs else None,
            draws=draws,
        )
    from pipeline.evaluate.classifiers.network import FittedNetwork  # torchvision: only where it is used

    if fitted is None:
        classes = len(data.classes)
        fitted = classifiers.fit(spec.classifier, labelled, data.val, classes, spec.seed, resources, dropout=DROPOUT)
    assert isinstance(fitted, FittedNetwork)
    copies = COPIES if "probability_views" in needs else 0
    return score_images(fitted, data.train, spec.seed, saw_test_labels=False, copies=copies, draws=draws)


def _query_of(
    spec: TrialSpec, data: EvaluationData, parts: Parts, resources: Resources
) -> tuple[Callable[[int], Int64], int]:
    """The strategy as a function of the budget, and the largest budget it takes."""
    if spec.strategy in parts.orders:
        order = parts.orders[spec.strategy]
        if spec.budget > len(order):
            raise InputError(f"The order '{spec.strategy}' ends after {len(order)}; the budget is {spec.budget}.")
        return lambda budget: order[:budget], len(order)
    chosen_by = strategy(spec.strategy)
    first = np.empty(0, np.int64)
    if chosen_by.scorer and spec.scorer == "labelled":
        if spec.budget < 2:
            raise InputError("A scorer that is trained on the query so far needs a budget of 2 or more.")
        first = strategy("random").query(PoolView(data.train.ids), spec.budget // 2, spec.seed)
        scores = honest_scores(spec, data.train.take(np.sort(first)), data, parts, resources, None)
        view = view_of(spec, data, parts, scores, first)
    else:
        view = view_of(spec, data, parts)
        if spec.share < 1:
            view = view.take(spec.rows(len(data.train)))
    return lambda budget: np.r_[first, chosen_by.query(view, budget - len(first), spec.seed)], len(view.sample_id)
