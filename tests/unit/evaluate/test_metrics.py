"""Metrics by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from pipeline.evaluate import metrics


def predictions(n: int, classes: int, seed: int, digits: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Labels of every class, and probabilities rounded so that there are ties, a little better than chance."""
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), rng.integers(0, classes, n - classes)]
    raw = rng.random((n, classes)) + 0.4 * np.eye(classes)[labels]
    rounded = (raw / raw.sum(1, keepdims=True)).round(digits)
    rounded[:, -1] = 1 - rounded[:, :-1].sum(1)
    return labels, rounded


@pytest.mark.parametrize(("n", "classes", "digits"), [(300, 8, 3), (50, 3, 1), (40, 2, 2), (12, 11, 1)])
def test_against_scikit_learn(n: int, classes: int, digits: int) -> None:
    labels, probabilities = predictions(n, classes, seed=n, digits=digits)
    if classes == 2:
        expected = roc_auc_score(labels, probabilities[:, 1])
    else:
        expected = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert metrics.macro_auc(labels, probabilities) == pytest.approx(100 * expected, abs=1e-10)
    guess = probabilities.argmax(1)
    assert metrics.accuracy(labels, probabilities) == pytest.approx(100 * accuracy_score(labels, guess))
    assert metrics.balanced_accuracy(labels, probabilities) == pytest.approx(
        100 * balanced_accuracy_score(labels, guess)
    )


def test_auc_by_hand() -> None:
    labels = np.array([0, 0, 1, 1])
    scores = np.array([0.9, 0.4, 0.4, 0.1])
    # Of the four pairs (one of 0, one of 1) three are in order and one is a tie.
    both = np.stack([scores, 1 - scores], 1)
    assert metrics.macro_auc(labels, both) == pytest.approx(100 * 3.5 / 4)


def test_a_class_that_the_test_split_lacks_is_left_out() -> None:
    labels, probabilities = predictions(60, 4, seed=1)
    rows = labels != 2
    expected = [100 * roc_auc_score(labels[rows] == c, probabilities[rows, c]) for c in (0, 1, 3)]
    assert metrics.macro_auc(labels[rows], probabilities[rows]) == pytest.approx(np.mean(expected))


def test_unknown_labels_are_left_out() -> None:
    labels, probabilities = predictions(60, 4, seed=2)
    hidden = labels.copy()
    hidden[40:] = -1
    for metric in (metrics.macro_auc, metrics.accuracy, metrics.balanced_accuracy):
        assert metric(hidden, probabilities) == metric(labels[:40], probabilities[:40])


def test_no_auc_where_the_query_lacks_a_class() -> None:
    labels, probabilities = predictions(60, 4, seed=3)
    whole = metrics.quality(labels, probabilities, np.array([0, 1, 2, 3]))
    missing = metrics.quality(labels, probabilities, np.array([0, 1, -1, 3]))
    assert whole.auc == metrics.macro_auc(labels, probabilities)
    assert missing.auc is None
    assert (missing.accuracy, missing.balanced_accuracy) == (whole.accuracy, whole.balanced_accuracy)


def test_what_was_never_taught_is_guessed() -> None:
    labels, probabilities = predictions(80, 4, seed=4)
    areas = [100 * roc_auc_score(labels == c, probabilities[:, c]) for c in range(4)]
    assert metrics.macro_auc_with_chance(labels, probabilities, np.arange(4)) == pytest.approx(np.mean(areas))
    found = metrics.macro_auc_with_chance(labels, probabilities, np.array([0, 0, 2]))
    assert found == pytest.approx((areas[0] + 50 + areas[2] + 50) / 4)


def test_what_cannot_be_scored() -> None:
    labels, probabilities = predictions(20, 3, seed=5)
    with pytest.raises(ValueError, match="20 test samples of 1 class"):
        metrics.macro_auc(np.zeros(20, int), probabilities)
    with pytest.raises(ValueError, match="labels up to 3 for 3 columns"):
        metrics.accuracy(labels + 1, probabilities)
    with pytest.raises(ValueError, match="19 labels"):
        metrics.accuracy(labels[1:], probabilities)
    with pytest.raises(ValueError, match="not numbers"):
        metrics.macro_auc(labels, np.where(probabilities > 0.5, np.nan, probabilities))
