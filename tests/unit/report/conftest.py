"""A small, whole report to vary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.report.page import ClassStatistics, EmbeddingMap, PoolArrays, QueryRow, ReportData

POOL, CLUSTERS, BUDGET = 40, 3, 7


@pytest.fixture
def make_report() -> Callable[..., ReportData]:
    """``make_report(budget=7, channels=3, side=8, **fields)``: a query of up to 10 from a pool of 40 images.

    Image i is filled with grey level i. The pool's ids run backwards, so that whoever joins by position is
    found out. The query has ids 30, 27, 24 ..., which lie in clusters 0, 1, 2, 0 and so on.
    """

    def make(budget: int = BUDGET, channels: int = 3, side: int = 8, **fields: Any) -> ReportData:
        ids = np.arange(POOL)[::-1].copy()
        confidence, variability = ids / 100, 0.2 - ids / 250
        cluster = (10 - ids // 3) % CLUSTERS
        chosen = [30 - 3 * place for place in range(budget)]
        query = [
            QueryRow(place + 1, i, f"scans/{i}.png", place % CLUSTERS, i / 100, 0.2 - i / 250)
            for place, i in enumerate(chosen)
        ]
        images = np.broadcast_to(np.array(chosen, np.uint8)[:, None, None, None], (budget, side, side, channels))
        values: dict[str, Any] = {
            "title": "a title",
            "run": "night-1",
            "store": "somewhere",
            "order": "hard-to-contrast",
            "temperature": 0.05,
            "k": CLUSTERS,
            "query": query,
            "images": images,
            "pool": PoolArrays(ids, cluster, confidence, variability),
            "command": "hacon select --budget 7",
            "next_command": "hacon select --budget 14",
            "embedding": EmbeddingMap(np.c_[ids, -ids].astype(np.float32), ids, cluster),
            "training": [{"epoch": e, "loss": 8.0 / e, "learning_rate": 0.03 / e, "seconds": 2.0} for e in (1, 2, 3)],
        }
        return ReportData(**(values | fields))

    return make


@pytest.fixture
def classes() -> ClassStatistics:
    """Statistics of 7 labels: three of class 0, four of class 2, none of the others."""
    labels = np.array([0, 0, 2, 2, 2, 2, 0])
    return ClassStatistics(("a", "b & c", "d", "e"), labels, 0.5, 0.9852281, 0.75, 0.1, 1.5, 0.25, 1000)
