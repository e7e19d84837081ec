"""The pool of the golden orders, read from ``strategies/pool.json``, and what is recorded of a strategy on it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.cluster import KMeansResult
from pipeline.select import PoolView, Strategy

FOLDER = Path(__file__).parent / "strategies"
SEEDS = (0, 3)
RECORDED = (1, 10, 25)
"""Budgets of a strategy whose budgets do not nest; of the others the whole order is recorded."""
DIVISORS = {
    "distance": 1024,
    "confidence": 256,
    "variability": 256,
    "features": 16,
    **dict.fromkeys(("probabilities", "probability_draws", "probability_views"), 64),
    **dict.fromkeys(("labelled_score", "learnability", "learnability_variability"), 64),
    "pixel_distance": 1024,
}
"""The file holds integers; the column is the integer over this."""
SINGLE = ("distance", "features", "pixel_distance")


def stored() -> dict[str, Any]:
    """The file as it is."""
    return json.loads((FOLDER / "pool.json").read_text())


def pool_view() -> PoolView:
    """The whole pool, nothing labelled; fresh clusters come from the file, so no K-means runs for them."""
    values = stored()
    fresh = values.pop("fresh_clusters")
    values.pop("labelled")
    columns: dict[str, Any] = {"k": values.pop("k"), "pixel_k": values.pop("pixel_k")}
    columns["sample_id"] = np.array(values.pop("sample_id"), np.int64)
    for name in ("cluster", "pixel_cluster"):
        columns[name] = np.array(values.pop(name), np.int32)
    for name, column in values.items():
        exact = np.array(column, np.float64) / DIVISORS[name]  # null is not-a-number
        columns[name] = exact.astype(np.float32) if name in SINGLE else exact

    def fresh_clusters(k: int, seed: int) -> KMeansResult:
        found = fresh[str(k)]
        distance = (np.array(found["distance"]) / 1024).astype(np.float32)
        labels = np.array(found["labels"], np.int32)
        return KMeansResult(labels, distance, np.empty((k, 0), np.float32), 0.0, "file", "golden")

    return PoolView(**columns, fresh_clusters=fresh_clusters)


def labelled_of() -> NDArray[np.bool_]:
    """(N,) which samples are labelled in the second half of what is recorded."""
    return np.array(stored()["labelled"], bool)


def orders_of(strategy: Strategy, view: PoolView, labelled: NDArray[np.bool_]) -> dict[str, list[int]]:
    """Sample ids by case: two seeds, nothing labelled or twelve samples, and the budgets that are recorded."""
    found = {}
    for begun, each in (("", view), (", 12 labelled", replace(view, labelled=labelled))):
        free = len(each.unlabelled_rows)
        for seed in SEEDS:
            for budget in (free,) if strategy.nests else RECORDED:
                found[f"seed {seed}, budget {budget}{begun}"] = strategy.query(each, budget, seed).tolist()
    return found
