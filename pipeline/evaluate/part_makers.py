"""How each shared part of an evaluation is made: a function from the opened evaluation to arrays and facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.artifacts import Float32, Int64, Uint8
from pipeline.cluster import KMeansResult, kmeans
from pipeline.cluster.umap2d import umap2d
from pipeline.data.given import given_features
from pipeline.evaluate import classifiers, stored_parts
from pipeline.evaluate.learnability import learnability_of_features, learnability_of_images
from pipeline.evaluate.opened import Opened
from pipeline.evaluate.scorer import COPIES, DRAWS, DROPOUT, copied_features, score_features, score_images
from pipeline.evaluate.vaal import labelled_score, reference_sample
from pipeline.results import SharedPart, Trained
from pipeline.select.fresh_clusters import cluster_features

if TYPE_CHECKING:
    from collections.abc import Callable

Made = tuple[dict[str, Any], SharedPart]
"""Arrays by name, and facts beside them."""
_ROWS_AT_ONCE = 512


def features(given: Opened, split: str) -> Made:
    """(n, D) of a split, in the space in which the run compares."""
    reader, embedded = given.reader, given.embedded
    if embedded.encoder is None and embedded.source != "moco":
        made = given_features(embedded.source, reader, split)
        return {"features": given.compared(made)}, SharedPart()
    embed = _embedder(given)
    ids = np.arange(reader.manifest.splits[split])
    batches = [ids[at : at + _ROWS_AT_ONCE] for at in range(0, len(ids), _ROWS_AT_ONCE)]
    made = np.concatenate([embed(reader.images(batch, split)) for batch in batches])
    return {"features": given.compared(made)}, SharedPart()


def copies(given: Opened) -> Made:
    """(V, N, D) of augmented copies of the pool."""
    train = given.train
    embed = _embedder(given)

    def compared(images: Uint8) -> Float32:
        return given.compared(embed(images))

    return {"copies": copied_features(compared, train.images(), train.ids, COPIES, seed=0)}, SharedPart()


def clusters(given: Opened, space: str, k: int, seed: int) -> Made:
    """K-means of the pool, on its features or its pixels."""
    settings = given.evaluation.cluster
    if space == "pixels":
        images = given.train.images()
        rows: Float32 = images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
    else:
        rows = given.features if settings.space == "features" else umap2d(given.features, seed)
    found = kmeans(
        rows,
        k,
        seed,
        backend=settings.backend,
        n_init=settings.n_init,
        max_iter=settings.max_iter,
        sample_above=settings.sample_above,
    )
    arrays = {"cluster": found.labels, "distance": found.distance, "centroids": found.centroids}
    return arrays, _facts(found)


def fresh_clusters(given: Opened, k: int, seed: int) -> Made:
    """The K-means of a strategy that makes one for every budget."""
    found = cluster_features(given.features, k, seed)
    arrays = {"labels": found.labels, "distance": found.distance, "centroids": found.centroids}
    return arrays, _facts(found)


def scores(given: Opened, seed: int, views: bool) -> Made:
    """The pool's scores, by a scorer trained on the test split as in the paper (docs/method.md, decision 16)."""
    evaluation, classes = given.evaluation, len(given.classes)
    if evaluation.on_features:
        copies = evaluation.arrays(stored_parts.COPIES)[0]["copies"] if views else None
        scores = score_features(
            given.test, given.features, classes, seed, saw_test_labels=True, copies=copies, draws=0 if views else DRAWS
        )
    else:
        from pipeline.evaluate.classifiers.network import FittedNetwork  # torchvision: only where it is used

        fitted = classifiers.fit(
            evaluation.classifier, given.test, given.val, classes, seed, given.resources, dropout=DROPOUT
        )
        assert isinstance(fitted, FittedNetwork)
        scores = score_images(
            fitted, given.train, seed, saw_test_labels=True, copies=COPIES if views else 0, draws=0 if views else DRAWS
        )
    arrays = {"probabilities": scores.probabilities, "draws": scores.draws, "views": scores.views}
    return {name: array for name, array in arrays.items() if array is not None}, SharedPart()


def vaal(given: Opened, seed: int) -> Made:
    """At a cold start a tenth of the pool stands for the labelled, as at the start of Sinha et al.'s experiments."""
    images = given.train.images()
    labelled = reference_sample(len(images), max(1, len(images) // 10), seed)
    return {"labelled_score": labelled_score(images, labelled, seed, device=given.device)}, SharedPart()


def learnability(given: Opened) -> Made:
    """The ground-truth map."""
    classes = len(given.classes)
    if given.evaluation.on_features:
        found = learnability_of_features(given.train, classes, seed=0)
    else:
        found = learnability_of_images(given.train, classes, 0, given.resources)
    return {"mean": found.mean, "std": found.std}, SharedPart()


def orders(given: Opened, orders: Mapping[str, Int64]) -> Made:
    """Published orders, as they were given."""
    return dict(orders), SharedPart()


def _embedder(given: Opened) -> Callable[[Uint8], Float32]:
    from pipeline.embed import open_embedder  # torchvision: five seconds that a trial's worker need not wait for

    encoder = given.embedded.encoder or given.stage(Trained).encoder
    return open_embedder(given.evaluation.store.read_bytes(encoder.file), encoder, given.device)


def _facts(found: KMeansResult) -> SharedPart:
    return SharedPart(inertia=found.inertia, backend=found.backend, reason=found.reason)
