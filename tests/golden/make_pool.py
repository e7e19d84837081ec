"""Draws ``strategies/pool.json``: ``python -m tests.golden.make_pool``. ``--orders`` also writes ``orders.json``.

Every number is a small integer over a power of two, so sums and products are exact on every processor. Features are
integers over 16 whose squares add up to 256: unit norm without rounding. Some strategies still round (logarithm,
exponential, sums of roots). Their orders stayed the same under relative noise of 1e-6 and sums in another order.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.select import STRATEGIES
from pipeline.select.fresh_clusters import cluster_features
from tests.golden.golden_pool import FOLDER, RECORDED, labelled_of, orders_of, pool_view

N, CLUMPS, DIMENSIONS, CLASSES = 96, 10, 12, 4


def unit_vectors(rng: np.random.Generator) -> NDArray[np.int64]:
    """(N, D) integers whose squares add up to 256, in ten clumps; four of the rows are there twice."""
    rows: list[list[int]] = []
    centres = np.eye(CLUMPS, DIMENSIONS) * 14
    sizes = [4, 5, 6, 7, 8, 9, 10, 12, 15, 20]
    for centre, size in zip(centres, sizes, strict=True):
        made: list[list[int]] = []
        while len(made) < size:
            row = np.rint(centre + rng.normal(size=DIMENSIONS) * 1.9).astype(int)
            if (row**2).sum() == 256 and row.tolist() not in made:
                made.append(row.tolist())
        rows += made
    order = rng.permutation(N)
    found = np.array(rows)[order]
    found[[11, 40, 63, 90]] = found[[80, 5, 21, 33]]
    return found


def shares(rng: np.random.Generator, *shape: int) -> NDArray[np.int64]:
    """(..., CLASSES) 64ths that add up to 64; no row is another's permutation."""
    seen, rows = set(), []
    while len(rows) < int(np.prod(shape)):
        row = rng.multinomial(64, rng.dirichlet(np.ones(CLASSES)))
        if tuple(sorted(row)) not in seen:
            seen.add(tuple(sorted(row)))
            rows.append(row)
    return np.array(rows).reshape(*shape, CLASSES)


def make_pool() -> dict[str, Any]:
    """By column: integers, and what each is to be divided by; null is not-a-number."""
    rng = np.random.default_rng(20)
    features = unit_vectors(rng)
    confidence: list[int | None] = rng.integers(0, 200, N).tolist()
    variability: list[int | None] = rng.integers(0, 100, N).tolist()
    for row in (17, 50):  # training never drew them
        confidence[row] = variability[row] = None
    fresh = {}
    ids = 5 + 3 * np.arange(N)
    labelled = rng.permutation(np.arange(N) < 12)
    for k in sorted({begun + budget for begun in (0, 12) for budget in RECORDED}):
        found = cluster_features((features / 16).astype(np.float32), k, seed=0)
        fresh[str(k)] = {
            "labels": found.labels.tolist(),
            "distance": np.rint(found.distance * 1024).astype(int).tolist(),
        }
    views, draws = shares(rng, N), shares(rng, 4, N)
    probabilities = shares(rng, N)
    probabilities[30] = probabilities[60]
    copies = np.stack([np.roll(views, turn, axis=0) for turn in range(4)])
    return {
        "sample_id": ids.tolist(),
        "labelled": labelled.astype(int).tolist(),
        "cluster": (rng.random(N) ** 2 * 7).astype(int).tolist(),
        "k": 7,
        "distance": rng.integers(0, 60, N).tolist(),
        "confidence": confidence,
        "variability": variability,
        "features": features.tolist(),
        "probabilities": probabilities.tolist(),
        "probability_draws": draws.tolist(),
        "probability_views": copies.tolist(),
        "labelled_score": rng.integers(0, 64, N).tolist(),
        "learnability": rng.integers(0, 64, N).tolist(),
        "learnability_variability": rng.integers(0, 64, N).tolist(),
        "pixel_cluster": rng.integers(0, 9, N).tolist(),
        "pixel_k": 9,
        "pixel_distance": rng.integers(0, 60, N).tolist(),
        "fresh_clusters": fresh,
    }


def write(name: str, values: dict[str, Any]) -> None:
    """One entry a line."""
    lines = [f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in values.items()]
    (FOLDER / name).write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    write("pool.json", make_pool())
    if "--orders" in sys.argv:
        view = pool_view()
        write("orders.json", {name: orders_of(each, view, labelled_of()) for name, each in STRATEGIES.items()})
