"""A pool that every strategy and the probe can work on, with all that trials share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts import Clustering, ConfidenceTable
from pipeline.cluster import kmeans
from pipeline.evaluate.head import HeadSettings
from pipeline.evaluate.learnability import HEAD, learnability_of_features
from pipeline.evaluate.parts import Parts
from pipeline.evaluate.samples import EvaluationData, Samples
from pipeline.evaluate.scorer import Scores, score_features

QUICK = HeadSettings(hidden=8, epochs=2, least_steps=40)


class Computed(Mapping[Any, Any]):
    """A mapping that computes what it is asked for, once, as one over the store would load it."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make, self.asked = make, {}

    def __getitem__(self, key: Any) -> Any:
        if key not in self.asked:
            self.asked[key] = self._make(key)
        return self.asked[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.asked)

    def __len__(self) -> int:
        return len(self.asked)


@dataclass(frozen=True)
class World:
    data: EvaluationData
    parts: Parts


def split(n: int, seed: int, classes: int = 4) -> Samples:
    """Uneven classes, a little apart from each other."""
    rng = np.random.default_rng(seed)
    weights = np.array([8, 4, 2, 1])[:classes]
    labels = rng.choice(classes, n, p=weights / weights.sum()).astype(np.int32)
    features = rng.normal(size=(n, 8)) + 2.5 * np.eye(8)[labels]
    unit = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    images = np.clip(60 * features[:, None, None, :3] + 100, 0, 255).repeat(8, 1).repeat(8, 2).astype(np.uint8)
    return Samples(np.arange(n), labels, unit, lambda ids: images[ids])


@pytest.fixture(scope="session")
def world() -> World:
    train, test = split(160, 0), split(120, 1)
    data = EvaluationData(train, test, ("a", "b", "c", "d"), split(40, 2))
    rng = np.random.default_rng(3)
    ids = train.ids

    def clusters(key: tuple[str, int, int]) -> Clustering:
        space, k, seed = key
        found = kmeans(train.vectors() if space == "features" else train.vectors()[:, :3], k, seed, n_init=2)
        return Clustering(ids, found.labels, found.distance, found.centroids, found.inertia, found.backend, seed)

    def scores(seed: int) -> Scores:
        return score_features(
            test, train.vectors(), 4, seed, saw_test_labels=True, copies=copies, draws=5, settings=QUICK
        )

    copies = train.vectors()[None] + 0.1 * rng.normal(size=(3, 160, 8)).astype(np.float32)
    confidence, variability = rng.random(160), rng.random(160)
    count = np.full(160, 5)
    return World(
        data,
        Parts(
            clusters=Computed(clusters),
            confidence={0.05: ConfidenceTable(ids, 0.05, count, confidence, variability, variability)},
            scores=Computed(scores),
            copies=copies,
            labelled_score=Computed(lambda seed: np.random.default_rng(seed).random(160)),
            learnability=learnability_of_features(
                train, 4, 0, HeadSettings(**{**vars(HEAD), "hidden": 8, "epochs": 4})
            ),
            orders={"authors:hard": rng.permutation(160)[:60]},
        ),
    )
