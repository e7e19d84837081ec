"""Scores of a pool: shapes, copies, and what they follow from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.evaluate import head as heads
from pipeline.evaluate.classifiers.model import Backbone
from pipeline.evaluate.classifiers.network import fit_network
from pipeline.evaluate.classifiers.settings import NetworkSettings
from pipeline.evaluate.head import HeadSettings
from pipeline.evaluate.samples import Samples
from pipeline.evaluate.scorer import augmented_copies, copied_features, score_features, score_images
from tests.tiny import TinyNet

QUICK = HeadSettings(hidden=8, epochs=2, least_steps=20)


def pool(n: int = 50) -> Samples:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, n)
    features = (rng.normal(size=(n, 5)) + 3 * np.eye(5)[labels]).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    images = rng.integers(0, 256, (n, 8, 8, 3)).astype(np.uint8)
    return Samples(10 * np.arange(n), labels, features, lambda ids: images[ids // 10])


def test_scores_on_features() -> None:
    samples = pool()
    features = samples.vectors()
    copies = np.stack([features, features[::-1]])
    scores = score_features(
        samples.take(np.arange(20)), features, 4, 0, saw_test_labels=True, copies=copies, draws=3, settings=QUICK
    )
    assert scores.draws is not None
    assert scores.probabilities.shape == (50, 4) and scores.draws.shape == (3, 50, 4)
    assert scores.views is not None and scores.saw_test_labels
    # Every copy is judged like the pool itself.
    assert np.array_equal(scores.views[0], scores.probabilities)
    # To rounding: which kernel of a product a row meets depends on its place.
    np.testing.assert_allclose(scores.views[1], scores.probabilities[::-1], rtol=1e-5)
    head = heads.fit_head(torch.from_numpy(features[:20]), torch.from_numpy(samples.labels[:20]), 4, 0, QUICK)
    assert np.array_equal(scores.probabilities, heads.probabilities(head, torch.from_numpy(features)).numpy())


def test_only_the_known_labels_train() -> None:
    samples = pool()
    hidden = replace(samples, labels=np.where(np.arange(50) < 20, samples.labels, -1))
    first, second = (
        score_features(given, samples.vectors(), 3, 0, saw_test_labels=False, draws=2, settings=QUICK)
        for given in (hidden, samples.take(np.arange(20)))
    )
    assert np.array_equal(first.probabilities, second.probabilities)
    nothing_more = score_features(samples, samples.vectors(), 3, 0, saw_test_labels=False, draws=0, settings=QUICK)
    assert nothing_more.draws is None and nothing_more.views is None


def test_scores_on_images() -> None:
    def tiny() -> Backbone:
        body = TinyNet()
        body.fc = nn.Identity()
        return Backbone(body, 32)

    samples = pool(30)
    settings = NetworkSettings(epochs=2, batch_size=16, learning_rate=0.01)
    fitted = fit_network(tiny, samples, None, 3, 0, settings, torch.device("cpu"), dropout=0.5)
    scores = score_images(fitted, samples, 0, saw_test_labels=True, copies=2, draws=4)
    assert scores.draws is not None
    assert scores.probabilities.shape == (30, 3) and scores.draws.shape == (4, 30, 3)
    assert scores.views is not None and scores.views.shape == (2, 30, 3)
    expected = fitted.predict_images(augmented_copies(samples.images(), samples.ids, 1, 0))
    assert np.array_equal(scores.views[1], expected)
    nothing_more = score_images(fitted, samples, 0, saw_test_labels=True, copies=0, draws=0)
    assert nothing_more.draws is None and nothing_more.views is None


@pytest.mark.parametrize("channels", [1, 3])
def test_a_copy_follows_from_its_key_alone(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 9, 9, channels)).astype(np.uint8)
    ids = np.arange(40) * 7
    together = augmented_copies(images, ids, 1, seed=3)
    assert together.shape == images.shape and together.dtype == np.uint8
    rows = np.array([5, 30, 2])
    assert np.array_equal(augmented_copies(images[rows], ids[rows], 1, seed=3), together[rows])
    for other in (augmented_copies(images, ids, 2, seed=3), augmented_copies(images, ids, 1, seed=4)):
        assert (other != together).any((1, 2, 3)).mean() > 0.8


def test_copies_are_flipped_crops_of_most_of_the_image() -> None:
    # A ramp from left to right: a crop of at least 70% of the area keeps at least about 70% of its range.
    n = 500
    ramp = np.broadcast_to(np.linspace(0, 255, 28)[None, None, :, None], (n, 28, 28, 1)).astype(np.uint8)
    copies = augmented_copies(ramp, np.arange(n), 0, seed=0)[:, 0, :, 0].astype(float)
    assert np.mean(copies[:, 0] > copies[:, -1]) == pytest.approx(0.5, abs=0.07)
    kept = np.abs(copies[:, 0] - copies[:, -1]) / 255
    assert kept.min() > 0.7**0.5 - 2 / 28 and kept.max() <= 1 and kept.std() > 0.02


def test_features_of_copies_are_those_of_the_embedder() -> None:
    images = np.random.default_rng(0).integers(0, 256, (11, 6, 6, 3)).astype(np.uint8)
    found = copied_features(lambda part: part.mean((1, 2)).astype(np.float32), images, np.arange(11), 3, 0, 4)
    assert found.shape == (3, 11, 3)
    for copy in range(3):
        assert np.array_equal(
            found[copy], augmented_copies(images, np.arange(11), copy, 0).mean((1, 2)).astype(np.float32)
        )
