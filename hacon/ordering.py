"""Orders of features that you have already. Needs no store and no Ray, and prints nothing."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline import select
from pipeline.artifacts import Float32, Int64
from pipeline.cluster import default_k, kmeans
from pipeline.errors import InputError
from pipeline.select import STRATEGIES, PoolView, Strategy
from pipeline.select.pool_view import COLUMNS
from pipeline.select.registry import load_entry_points, strategy_of

Choice = str | Callable[[PoolView, int, int], ArrayLike]
_TYPES: dict[str, type] = {
    **dict.fromkeys(COLUMNS, np.float64),
    **dict.fromkeys(("cluster", "pixel_cluster"), np.int32),
    **dict.fromkeys(("distance", "pixel_distance"), np.float32),
}
_UNIT = 1e-6
"""Norms of a run's float32 features differ from 1 by at most this."""
_ROWS_AT_ONCE = 65_536
_MOST_NAMED = 5


def strategies() -> dict[str, Strategy]:
    """Every strategy by its name, with ``needs``, ``nests``, ``words`` (what comes first), ``why`` and ``paper``.

    Those of installed packages (entry points ``hacon.strategies``) are imported and listed too.
    """
    load_entry_points()
    return dict(STRATEGIES)


def order(
    features: ArrayLike,
    budget: int,
    *,
    strategy: Choice = "greedy-medoids",
    labelled: ArrayLike | None = None,
    seed: int = 0,
    confidence: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    k: int | None = None,
    **columns: ArrayLike,
) -> Int64:
    """(budget,) rows of ``features`` to label, the first to be labelled first.

    The same arguments give the same rows on one machine, whatever the scale of a row of ``features``. Where the
    strategy nests, a larger budget begins with a smaller one. A strategy by clusters does so on the same clusters:
    below a budget of 30, give ``cluster`` or ``k``.

    Args:
        features: (N, D) real numbers, one row an image. Rows are scaled to unit norm; float32 rows whose norms are all
            within 1e-6 of 1 are taken as they are.
        strategy: a name of ``strategies()``, "module:function", or a function (docs/strategies.md).
        labelled: rows labelled already, as row numbers or as a mask (N,) of bool. They are never chosen.
        confidence: (N,) of Eq. 3 (docs/method.md, section 2), for the strategies that need it; NaN = unknown.
        cluster: (N,) numbers from 0 to K - 1. Where a strategy needs clusters and has none, K-means makes ``k``.
        k: number of clusters; by default that of ``cluster``, else 30 or the budget, whichever is less.
        columns: further columns of ``PoolView`` that the strategy needs, such as ``variability``, ``distance`` or
            ``probabilities``; one row an image.

    Raises:
        ValueError: a row that is zero or not finite, a budget above the number of unlabelled rows, shapes that do not
            fit, a column that is missing or unknown, or a strategy that does not exist.
    """
    unit = _unit_norm(features)
    try:
        chosen_by = select.strategy(strategy) if isinstance(strategy, str) else strategy_of(strategy, _name(strategy))
        given = _columns({"confidence": confidence, "cluster": cluster, **columns})
        if "cluster" in given:
            given["k"] = _count(given["cluster"]) if k is None else k
        elif {"cluster", "distance"} & {*chosen_by.needs} and budget >= 1:
            made = kmeans(unit, default_k(min(budget, len(unit))) if k is None else k, seed, backend="sklearn")
            given |= {"cluster": made.labels, "distance": made.distance, "k": len(made.centroids)}
        if "pixel_cluster" in given:
            given["pixel_k"] = _count(given["pixel_cluster"])
        mask = None if labelled is None else _mask(labelled, len(unit))
        view = PoolView(np.arange(len(unit)), features=unit, labelled=mask, **given)
        return chosen_by.query(view, operator.index(budget), operator.index(seed))
    except InputError as error:
        raise ValueError(str(error)) from None


def _unit_norm(features: ArrayLike) -> Float32:
    given = np.asarray(features)
    if given.ndim != 2 or 0 in given.shape or not np.issubdtype(given.dtype, np.number) or np.iscomplexobj(given):
        raise ValueError(f"features are (N, D) real numbers, not {given.shape} of {given.dtype}")
    unit = np.empty(given.shape, np.float32)
    refused: list[int] = []
    as_they_are = given.dtype == np.float32
    for start in range(0, len(given), _ROWS_AT_ONCE):
        rows = given[start : start + _ROWS_AT_ONCE].astype(np.float64)
        largest = np.abs(rows).max(axis=1, keepdims=True)  # so that squares neither overflow nor underflow
        wrong = ~(np.isfinite(largest) & (largest > 0))[:, 0]
        refused += (start + np.flatnonzero(wrong)).tolist()
        largest[wrong] = 1
        rows /= largest
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        as_they_are &= bool((np.abs(norms * largest - 1) <= _UNIT).all())
        with np.errstate(invalid="ignore"):
            unit[start : start + len(rows)] = rows / np.where(wrong[:, None], 1, norms)
    if refused:
        named = ", ".join(map(str, refused[:_MOST_NAMED])) + (", ..." if len(refused) > _MOST_NAMED else "")
        raise ValueError(f"{len(refused)} of {len(given)} rows of features are zero or not finite: {named}")
    return given if as_they_are else unit


def _mask(labelled: ArrayLike, n: int) -> NDArray[np.bool_]:
    given = np.asarray(labelled)
    if given.dtype == np.bool_:
        if given.shape != (n,):
            raise ValueError(f"labelled is a mask of shape {given.shape}, and there are {n} rows of features")
        return given
    if given.size and not np.issubdtype(given.dtype, np.integer):
        raise ValueError(f"labelled is row numbers or a mask of bool, not {given.dtype}")
    rows = given.astype(np.int64).ravel()
    if rows.size and not 0 <= rows.min() <= rows.max() < n:
        raise ValueError(f"labelled rows {rows.min()} to {rows.max()} are not within 0 to {n - 1}")
    mask = np.zeros(n, bool)
    mask[rows] = True
    return mask


def _columns(given: dict[str, ArrayLike | None]) -> dict[str, Any]:
    if unknown := [name for name in given if name not in COLUMNS or name == "features"]:
        raise ValueError(f"there is no column '{unknown[0]}'; choose of {', '.join(COLUMNS)}")
    found: dict[str, Any] = {}
    for name, values in given.items():
        if values is not None:
            column = np.asarray(values)
            if _TYPES[name] is np.int32 and not np.issubdtype(column.dtype, np.integer):
                raise ValueError(f"{name} holds {column.dtype}, not whole numbers")
            found[name] = column.astype(_TYPES[name])
    return found


def _count(cluster: NDArray[np.int32]) -> int:
    return int(cluster.max(initial=-1)) + 1


def _name(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)
