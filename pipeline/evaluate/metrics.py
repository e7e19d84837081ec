"""How good predictions are: macro one-vs-rest AUC, accuracy, balanced accuracy, all in percent.

Letters: n = test samples, C = classes. Samples whose label is unknown (-1) are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Float64

Labels = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Quality:
    """In percent. ``auc`` is None, the paper's "-", where the query lacks a class (docs/method.md, decision 18)."""

    auc: float | None
    accuracy: float
    balanced_accuracy: float


def quality(labels: Labels, probabilities: NDArray[Any], labels_of_query: Labels) -> Quality:
    """All three figures of a model that was trained on a query.

    Args:
        labels: (n,) of the test split.
        probabilities: (n, C), each row sums to 1.
        labels_of_query: (B,) what the model was trained on.

    Raises:
        ValueError: as ``macro_auc``.
    """
    covered = np.unique(labels_of_query[labels_of_query >= 0])
    complete = len(covered) == probabilities.shape[1]
    return Quality(
        auc=macro_auc(labels, probabilities) if complete else None,
        accuracy=accuracy(labels, probabilities),
        balanced_accuracy=balanced_accuracy(labels, probabilities),
    )


def macro_auc(labels: Labels, probabilities: NDArray[Any]) -> float:
    """Mean over the classes of the area under each one's ROC curve against the rest, in percent.

    The same as scikit-learn's ``roc_auc_score(multi_class="ovr", average="macro")``, by ranks (Mann-Whitney; ties
    count half). A class that the test split lacks has no curve and is left out of the mean.

    Raises:
        ValueError: labels outside the columns, not a number among the probabilities, or no two classes to tell apart.
    """
    labels, probabilities = _known(labels, probabilities)
    n, classes = probabilities.shape
    counts = np.bincount(labels, minlength=classes)
    present = np.flatnonzero(counts)
    if len(present) < 2:
        raise ValueError(f"{n} test samples of {len(present)} class(es): there is nothing to tell apart")
    areas = []
    for c in present:
        above = _ranks(probabilities[:, c])[labels == c].sum() - counts[c] * (counts[c] + 1) / 2
        areas.append(above / (counts[c] * (n - counts[c])))
    return 100 * float(np.mean(areas))


def macro_auc_with_chance(labels: Labels, probabilities: NDArray[Any], labels_of_query: Labels) -> float:
    """``macro_auc`` that a query without some class has too: what was never taught is guessed, so its area is 50%.

    The rule of the active-learning cycles, whose curves and correlations need a number everywhere; the
    benchmark's tables have the paper's "-" instead.
    """
    taught = np.isin(np.arange(probabilities.shape[1]), labels_of_query)
    return macro_auc(labels, np.where(taught, probabilities, 0.0))


def accuracy(labels: Labels, probabilities: NDArray[Any]) -> float:
    """Share of the samples whose most probable class is their own, in percent."""
    labels, probabilities = _known(labels, probabilities)
    return 100 * float((probabilities.argmax(1) == labels).mean())


def balanced_accuracy(labels: Labels, probabilities: NDArray[Any]) -> float:
    """Mean over the classes that occur of the share of their samples that are recognised, in percent."""
    labels, probabilities = _known(labels, probabilities)
    right = np.bincount(labels, weights=probabilities.argmax(1) == labels)
    count = np.bincount(labels)
    return 100 * float((right[count > 0] / count[count > 0]).mean())


def _known(labels: Labels, probabilities: NDArray[Any]) -> tuple[Labels, NDArray[Any]]:
    if probabilities.ndim != 2 or len(labels) != len(probabilities):
        raise ValueError(f"{len(labels)} labels for probabilities of shape {probabilities.shape}")
    if not np.isfinite(probabilities).all():
        raise ValueError("the probabilities hold values that are not numbers")
    known = labels >= 0
    if not known.any() or labels.max() >= probabilities.shape[1]:
        raise ValueError(f"labels up to {labels.max(initial=-1)} for {probabilities.shape[1]} columns")
    return labels[known], probabilities[known]


def _ranks(values: NDArray[Any]) -> Float64:
    """(n,) ranks from 1, equal values sharing the mean of theirs."""
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[which]
