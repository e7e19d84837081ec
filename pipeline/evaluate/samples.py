"""Labelled samples, as classifiers and scorers take them. Never given to a strategy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Float32, Int64, Uint8
from pipeline.errors import InputError

ReadImages = Callable[[Int64], Uint8]
"""Sample ids (n,) -> images (n, H, W, C) uint8, in that order."""


@dataclass(frozen=True)
class Samples:
    """n samples of one split. Pixels are read when they are asked for, and only those.

    Shapes: ids (n,); labels (n,), -1 = unknown; features (n, D), unit norm.

    Raises:
        ValueError: columns of different lengths.
    """

    ids: Int64
    labels: NDArray[np.integer[Any]]
    features: Float32 | None = None
    read_images: ReadImages | None = None

    def __post_init__(self) -> None:
        for name in ("labels", "features"):
            column = getattr(self, name)
            if column is not None and len(column) != len(self.ids):
                raise ValueError(f"{len(column)} {name} for {len(self.ids)} sample ids")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[Any]) -> Samples:
        """The rows (m,), numbers or a mask, in that order."""
        features = None if self.features is None else self.features[rows]
        return Samples(self.ids[rows], self.labels[rows], features, self.read_images)

    def known(self) -> Samples:
        """Those whose label is known."""
        return self.take(self.labels >= 0)

    def images(self) -> Uint8:
        """(n, H, W, C) uint8.

        Raises:
            InputError: these samples came without a way to their pixels.
        """
        if self.read_images is None:
            raise InputError("This classifier trains on images, and none were given; choose the classifier 'probe'.")
        return self.read_images(self.ids)

    def vectors(self) -> Float32:
        """(n, D) features.

        Raises:
            InputError: these samples came without features.
        """
        if self.features is None:
            raise InputError("The classifier 'probe' needs features of every split; embed them first.")
        return self.features


@dataclass(frozen=True)
class EvaluationData:
    """The pool with its hidden labels (ids 0 .. N-1, in that order), and the splits kept for evaluation."""

    train: Samples
    test: Samples
    classes: tuple[str, ...]
    """Class names by label number."""
    val: Samples | None = None
    """None where the source has no such split (CIFAR-10-LT)."""

    def __post_init__(self) -> None:
        if not np.array_equal(self.train.ids, np.arange(len(self.train))):
            raise ValueError("the pool's sample ids are not 0 .. N-1 in order")
