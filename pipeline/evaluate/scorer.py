"""The model behind the uncertainty strategies: what it predicts for the pool, with dropout, and for augmented copies.

The paper's scorer "is trained with the test set" (docs/method.md, decision 16). Such scores saw test labels, and what
is made of them is flagged so. The honest one is trained on what is labelled so far. Both are the same functions here,
given other samples.

Arrays in, arrays out, so that a caller computes what many scorers share once: the features of augmented copies.
N = pool, D = feature dimensions, C = classes, T = stochastic passes, V = augmented copies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline.artifacts import Float32, Int64, Uint8
from pipeline.data.random_streams import stream_keys, uniform
from pipeline.data.views import Recipe, crop_boxes, resize_matrix
from pipeline.evaluate import head as heads
from pipeline.evaluate.head import HeadSettings
from pipeline.evaluate.samples import Samples

if TYPE_CHECKING:  # torchvision: seconds that a scorer of features need not wait for
    from pipeline.evaluate.classifiers.network import FittedNetwork

DRAWS = 20
"""T: BALD's estimate needs a few; Gal et al. 2017 take up to 100."""
COPIES = 5
"""V: flips and crops; Gao et al. 2020 take 50 on a GPU."""
DROPOUT = 0.5

# Gao et al. 2020 flip and crop: enough to move an image, too little to change what it shows.
_COPY = Recipe(min_area=0.7, aspect=1.0)
_TRIES = 10


@dataclass(frozen=True)
class Scores:
    """What strategies may see of a scorer, in the order of the pool's rows.

    Shapes: probabilities (N, C), dropout off; draws (T, N, C) and views (V, N, C), None where none were asked for.
    """

    probabilities: Float32
    draws: Float32 | None
    views: Float32 | None
    saw_test_labels: bool


def score_features(
    train: Samples,
    features: Float32,
    classes: int,
    seed: int,
    *,
    saw_test_labels: bool,
    copies: Float32 | None = None,
    draws: int = DRAWS,
    settings: HeadSettings | None = None,
) -> Scores:
    """A dropout network on frozen features: seconds on a CPU.

    Args:
        train: labelled samples with features, of the test split or of what is labelled so far.
        features: (N, D) of the pool.
        copies: (V, N, D) features of augmented copies of the pool, see ``copied_features``.
        draws: T; 0: none.
    """
    train = train.known()
    labels = torch.from_numpy(train.labels.astype(np.int64))
    head = heads.fit_head(torch.from_numpy(train.vectors()), labels, classes, seed, settings or HeadSettings())
    pool = torch.from_numpy(features)
    views = None
    if copies is not None:
        views = np.stack([heads.probabilities(head, torch.from_numpy(each)).numpy() for each in copies])
    return Scores(
        heads.probabilities(head, pool).numpy(),
        heads.probability_draws(head, pool, draws, seed).numpy() if draws else None,
        views,
        saw_test_labels,
    )


def score_images(
    fitted: FittedNetwork,
    pool: Samples,
    seed: int,
    *,
    saw_test_labels: bool,
    copies: int = COPIES,
    draws: int = DRAWS,
) -> Scores:
    """The paper's way: a network that was trained on images, with dropout before its head.

    Args:
        fitted: of ``classifiers.fit`` with ``dropout=scorer.DROPOUT``.
        pool: samples with images, labels unread.
        copies: V; 0: none. draws: T; 0: none.
    """
    images = pool.images()
    views = [fitted.predict_images(augmented_copies(images, pool.ids, copy, seed)) for copy in range(copies)]
    return Scores(
        fitted.predict_images(images),
        fitted.predict_draws(images, draws, seed) if draws else None,
        np.stack(views) if views else None,
        saw_test_labels,
    )


def copied_features(
    embed: Callable[[Uint8], Float32], images: Uint8, ids: Int64, copies: int, seed: int, rows_at_once: int = 512
) -> Float32:
    """(V, n, D) features of V augmented copies of each image.

    Args:
        embed: (m, H, W, C) uint8 -> (m, D), such as ``pipeline.embed.Embedder``.
        images: (n, H, W, C) uint8. ids: (n,) their sample ids, which the augmentation follows from.
    """
    starts = range(0, len(ids), rows_at_once)
    return np.stack(
        [
            np.concatenate(
                [
                    embed(augmented_copies(images[at : at + rows_at_once], ids[at : at + rows_at_once], copy, seed))
                    for at in starts
                ]
            )
            for copy in range(copies)
        ]
    )


def augmented_copies(images: Uint8, ids: Int64, copy: int, seed: int) -> Uint8:
    """The ``copy``-th augmented copy (crop of 70 to 100% of the area, flip) of each image (n, H, W, C).

    Follows from (seed, copy, id) alone, in any batch and order.
    """
    keys = stream_keys(seed, 0, torch.full((len(ids),), copy), torch.from_numpy(ids), view=2)
    u = uniform(keys, 2 * _TRIES + 3)
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).to(torch.float32)
    height, width = pixels.shape[2:]
    box = crop_boxes(u[:, : 2 * _TRIES], u[:, 2 * _TRIES : 2 * _TRIES + 2], height, width, _COPY)
    flip = u[:, -1] < _COPY.flip
    rows = resize_matrix(box[:, 0], box[:, 2], height, torch.zeros_like(flip))
    columns = resize_matrix(box[:, 1], box[:, 3], width, flip)
    copies = (rows[:, None] @ pixels @ columns[:, None].transpose(-1, -2)).round().clamp(0, 255)
    return copies.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
