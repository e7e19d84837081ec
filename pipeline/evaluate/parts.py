"""What trials share, and what of it a trial's strategy may see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.artifacts import Clustering, ConfidenceTable, Float32, Float64, Int64
from pipeline.cluster import KMeansResult
from pipeline.errors import InputError
from pipeline.evaluate.learnability import Learnability
from pipeline.evaluate.samples import EvaluationData
from pipeline.evaluate.scorer import Scores
from pipeline.evaluate.spec import TrialSpec
from pipeline.select import PoolView, strategy


@dataclass(frozen=True)
class Parts:
    """Computed once each. A mapping may well load what it is asked for only then.

    All arrays are in the order of the pool's sample ids, 0 .. N-1.
    """

    clusters: Mapping[tuple[str, int, int], Clustering] = field(default_factory=dict)
    """By (space, K, seed); the space is "features" or "pixels"."""
    fresh_clusters: Callable[[int, int], KMeansResult] | None = None
    """(K, seed) -> the features' K-means of a strategy that makes one for every budget; none: each makes its own."""
    confidence: Mapping[float, ConfidenceTable] = field(default_factory=dict)
    """By temperature."""
    scores: Mapping[int, Scores] = field(default_factory=dict)
    """By seed: of scorers trained on the test split."""
    copies: Float32 | None = None
    """(V, N, D) features of augmented copies, for scorers that a trial trains itself."""
    labelled_score: Mapping[int, Float64] = field(default_factory=dict)
    """By seed: VAAL's."""
    learnability: Learnability | None = None
    orders: Mapping[str, Int64] = field(default_factory=dict)
    """Published orders (beginnings of the pool's order) by a name that is no strategy's, such as "authors:hard"."""


def view_of(
    spec: TrialSpec,
    data: EvaluationData,
    parts: Parts,
    scores: Scores | None = None,
    labelled: Int64 | None = None,
) -> PoolView:
    """The columns that the spec's strategy needs, and no others.

    Args:
        scores: of its scorer; none: those of ``parts``.
        labelled: ids of what is labelled already.

    Raises:
        InputError: a part is missing.
    """
    wanted = strategy(spec.strategy)
    needs = set(wanted.needs)
    columns: dict[str, Any] = {}
    if needs & {"cluster", "distance"}:
        found = _part(parts.clusters, ("features", spec.clusters, spec.seed), "clusters", "(space, K, seed)")
        columns |= {"cluster": found.cluster, "distance": found.distance, "k": found.k}
    if needs & {"pixel_cluster", "pixel_distance"}:
        found = _part(parts.clusters, ("pixels", spec.clusters, spec.seed), "clusters", "(space, K, seed)")
        columns |= {"pixel_cluster": found.cluster, "pixel_distance": found.distance, "pixel_k": found.k}
    if needs & {"confidence", "variability"}:
        table = _part(parts.confidence, spec.temperature, "confidences", "temperature")
        columns |= {"confidence": table.confidence, "variability": table.variability}
    if wanted.scorer:
        given = _part(parts.scores, spec.seed, "scores", "seed") if scores is None else scores
        known = {
            "probabilities": given.probabilities,
            "probability_draws": given.draws,
            "probability_views": given.views,
        }
        columns |= {name: column for name, column in known.items() if name in needs}
    if "features" in needs:
        columns |= {"features": data.train.vectors(), "fresh_clusters": parts.fresh_clusters}
    if "labelled_score" in needs:
        columns["labelled_score"] = _part(parts.labelled_score, spec.seed, "scores of VAAL", "seed")
    if needs & {"learnability", "learnability_variability"}:
        if parts.learnability is None:
            raise InputError(f"The strategy '{spec.strategy}' needs the ground-truth map; compute it first.")
        columns |= {"learnability": parts.learnability.mean, "learnability_variability": parts.learnability.std}
    if labelled is not None:
        columns["labelled"] = np.isin(data.train.ids, labelled)
    return PoolView(sample_id=data.train.ids, **columns)


def _part(mapping: Mapping[Any, Any], key: Any, what: str, by: str) -> Any:
    try:
        return mapping[key]
    except KeyError:
        raise InputError(f"There are no {what} for the {by} {key}; compute them before the trial.") from None
