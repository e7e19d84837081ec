"""The premise of hard-to-contrast: rank correlation of hardness and density inside clusters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from pipeline.select.premise import premise


def pool(sign: float, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two blobs, each dense in its middle; confidence follows the distance to it, or its opposite."""
    rng = np.random.default_rng(0)
    cluster = np.repeat([0, 1], 200)
    spread = rng.exponential(size=(400, 1))
    features = (cluster[:, None] * 50 + spread * rng.normal(size=(400, 8))).astype(np.float32)
    confidence = sign * spread[:, 0] + noise * rng.normal(size=400)
    return features, cluster, confidence


def test_the_hard_in_dense_places_hold_it_and_the_hard_far_out_do_not() -> None:
    holds, fails = premise(*pool(1.0)), premise(*pool(-1.0))
    assert holds is not None and fails is not None
    assert holds.holds and holds.correlation > 0.8 and "so the hardest look like the rest" in holds.words
    assert not fails.holds and fails.correlation < -0.8


def test_without_any_relation_the_interval_holds_zero() -> None:
    features, cluster, _ = pool(1.0)
    found = premise(features, cluster, np.random.default_rng(1).random(400))
    assert found is not None and abs(found.correlation) < 0.15 and not found.holds


def test_it_is_spearmans_of_each_cluster_averaged_on_fishers_scale() -> None:
    features, cluster, confidence = pool(1.0, noise=2.0)
    total = 0.0
    for number in (0, 1):
        rows = np.flatnonzero(cluster == number)
        apart = np.sqrt(((features[rows][:, None] - features[rows][None]) ** 2).sum(axis=2))
        near = np.sort(apart, axis=1)[:, 1:21].mean(axis=1)
        total += np.arctanh(spearmanr(confidence[rows], near).statistic)
    found = premise(features, cluster, confidence)
    assert found is not None
    assert found.correlation == pytest.approx(np.tanh(total / 2), abs=2e-3)
    half = 1.959964 / np.sqrt(2 * 197)
    assert found.low == pytest.approx(np.tanh(total / 2 - half), abs=2e-3)


def test_samples_without_confidence_are_left_out_and_small_clusters_do_not_count() -> None:
    features, cluster, confidence = pool(1.0)
    confidence[:3] = np.nan
    found = premise(features, cluster, confidence)
    assert found is not None and found.samples == 397
    assert premise(features[:4], cluster[:4], confidence[:4]) is None
    assert premise(features, cluster, np.ones(400)) is None
