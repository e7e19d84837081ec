"""The shared parts of an evaluation as trials read them: from the store, what is asked for, and only then."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

from pipeline.artifacts import Clustering, ConfidenceTable, Float64, Int64, confidence_at
from pipeline.evaluate.files import MAP_OF_FEATURES, MAP_OF_IMAGES
from pipeline.evaluate.learnability import Learnability
from pipeline.evaluate.opened import Evaluation, Opened
from pipeline.evaluate.parts import Parts
from pipeline.evaluate.scorer import Scores
from pipeline.evaluate.spec import PUBLISHED
from pipeline.publish import finished
from pipeline.results import SharedPart, Trained

COPIES, ORDERS = "copies", "orders"
VIEWS, LEARNABILITY = "probability_views", {"learnability", "learnability_variability"}
"""Columns of a pool's view that come from parts without a key."""
_HELD = 8
"""Parts that a worker keeps in memory."""


def clusters_name(space: str, k: int, seed: int) -> str:
    """The part that holds a clustering."""
    return f"clusters-{space}-{k}-{seed}"


def fresh_clusters_name(k: int, seed: int) -> str:
    """The part that holds a clustering which a strategy made for its budget."""
    return f"clusters-fresh-{k}-{seed}"


def scores_name(evaluation: Evaluation, seed: int, views: bool) -> str:
    """The part that holds a scorer's scores; those of augmented copies, which cost as many passes, are one apart."""
    return f"scores-{evaluation.classifier}-{seed}{'-views' if views else ''}"


def vaal_name(seed: int) -> str:
    """The part that holds VAAL's scores."""
    return f"vaal-{seed}"


def map_name(evaluation: Evaluation) -> str:
    """The part that holds the ground-truth map."""
    return MAP_OF_FEATURES if evaluation.on_features else MAP_OF_IMAGES


def stored_parts(given: Opened, needs: Collection[str], honest: Collection[str] = ()) -> Parts:
    """``Parts`` that read from the store what a trial asks for.

    Args:
        needs: columns that the trial's strategy needs.
        honest: columns needed of a scorer that the trial trains itself.
    """
    evaluation = given.evaluation
    own_copies = VIEWS in honest and evaluation.on_features
    return Parts(
        clusters=_Stored(lambda key: _clusters(given, *key)),
        confidence=_Stored(lambda temperature: _confidence(given, temperature)),
        scores=_Stored(lambda seed: _scores(evaluation, seed, VIEWS in needs)),
        copies=_arrays(evaluation, COPIES)["copies"] if own_copies else None,
        labelled_score=_Stored(lambda seed: _vaal(evaluation, seed)),
        learnability=_learnability(evaluation) if LEARNABILITY & {*needs, *honest} else None,
        orders=_Stored(lambda name: _order(evaluation, name)),
    )


class _Stored(Mapping[Any, Any]):
    """A mapping that reads a value when it is asked for it."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read = read

    def __getitem__(self, key: Any) -> Any:
        return self._read(key)

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("what is on the store is asked for by its key")

    def __len__(self) -> int:
        raise TypeError("what is on the store is asked for by its key")


@lru_cache(maxsize=_HELD)
def _arrays(evaluation: Evaluation, part: str) -> dict[str, Any]:
    return evaluation.arrays(part)[0]


def _clusters(given: Opened, space: str, k: int, seed: int) -> Clustering:
    name = clusters_name(space, k, seed)
    arrays = _arrays(given.evaluation, name)
    done = finished(given.evaluation.store, given.evaluation.folder(name), SharedPart)
    assert done is not None and done.inertia is not None and done.backend is not None
    return Clustering(given.train.ids, **arrays, inertia=done.inertia, backend=done.backend, seed=seed)


@lru_cache(maxsize=1)
def _confidences(given: Opened) -> Any:
    return given.evaluation.store.read_table(given.stage(Trained).confidence_file)


def _confidence(given: Opened, temperature: float) -> ConfidenceTable:
    return confidence_at(_confidences(given), temperature)


def _scores(evaluation: Evaluation, seed: int, views: bool) -> Scores:
    arrays = _arrays(evaluation, scores_name(evaluation, seed, views))
    return Scores(arrays["probabilities"], arrays.get("draws"), arrays.get("views"), saw_test_labels=True)


def _vaal(evaluation: Evaluation, seed: int) -> Float64:
    score: Float64 = _arrays(evaluation, vaal_name(seed))["labelled_score"]
    return score


def _learnability(evaluation: Evaluation) -> Learnability:
    arrays = _arrays(evaluation, map_name(evaluation))
    return Learnability(arrays["mean"], arrays["std"])


def _order(evaluation: Evaluation, name: str) -> Int64:
    if not name.startswith(PUBLISHED):
        raise KeyError(name)
    order: Int64 = _arrays(evaluation, ORDERS)[name]
    return order
