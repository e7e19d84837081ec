"""The door for Python: features that somebody has, in; rows to label, out."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import hacon
from pipeline.artifacts import Int64
from pipeline.cluster import kmeans
from pipeline.select import STRATEGIES, PoolView
from tests.golden.golden_pool import pool_view

RAW = np.random.default_rng(0).normal(size=(5, 8))[np.arange(120) % 5] + np.random.default_rng(1).normal(
    scale=0.3, size=(120, 8)
)
CONFIDENCE = np.random.default_rng(2).random(120)


def test_rows_of_the_array_that_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    rows = hacon.order(RAW, 10)
    assert rows.dtype == np.int64 and len(set(rows.tolist())) == 10 and 0 <= rows.min() <= rows.max() < 120
    assert hacon.order(RAW, 30)[:10].tolist() == rows.tolist()
    assert len({row % 5 for row in rows[:5].tolist()}) == 5, "one of each clump"
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("strategy", [name for name, each in STRATEGIES.items() if "features" in each.needs])
def test_scale_does_not_matter(strategy: str) -> None:
    rows = hacon.order(RAW, 12, strategy=strategy, confidence=CONFIDENCE)
    scales = np.random.default_rng(3).uniform(0.1, 1e6, (120, 1))
    for given in (RAW * 7.3, RAW * scales, RAW * 1e200, RAW * 1e-200):
        assert hacon.order(given, 12, strategy=strategy, confidence=CONFIDENCE).tolist() == rows.tolist()


def test_features_of_a_run_are_taken_as_they_are() -> None:
    """What ``embed`` left gives the order that ``query`` would write."""
    golden = pool_view()
    assert golden.features is not None
    almost = golden.features * np.float32(1 + 3e-7)
    for name in ("greedy-medoids", "coreset", "maxherding"):
        view = PoolView(np.arange(96), features=almost)
        assert hacon.order(almost, 40, strategy=name).tolist() == STRATEGIES[name].query(view, 40, 0).tolist()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int16])
def test_any_real_numbers(dtype: type) -> None:
    rough = np.rint(RAW * 40)
    assert hacon.order(rough.astype(dtype), 9).tolist() == hacon.order(rough, 9).tolist()
    assert hacon.order(rough.tolist(), 9).tolist() == hacon.order(rough, 9).tolist()


def test_a_query_goes_on_from_what_is_labelled() -> None:
    rows = hacon.order(RAW, 30)
    mask = np.isin(np.arange(120), rows[:10])
    for labelled in (rows[:10], rows[:10].tolist(), mask):
        assert hacon.order(RAW, 20, labelled=labelled).tolist() == rows[10:].tolist()
    assert hacon.order(RAW, 20, labelled=[]).tolist() == rows[:20].tolist()


def test_clusters_are_made_where_none_are_given() -> None:
    for k, wanted in ((None, 12), (4, 4)):
        unit = (RAW / np.linalg.norm(RAW, axis=1, keepdims=True)).astype(np.float32)
        made = kmeans(unit, wanted, 5, backend="sklearn")
        view = PoolView(np.arange(120), cluster=made.labels, distance=made.distance, k=wanted, confidence=CONFIDENCE)
        for name in ("hard-to-contrast", "closest-to-centroid"):
            expected = STRATEGIES[name].query(view, 12, 5).tolist()
            assert hacon.order(RAW, 12, strategy=name, k=k, seed=5, confidence=CONFIDENCE).tolist() == expected


def test_orders_by_clusters_nest_on_the_same_k() -> None:
    small, large = (hacon.order(RAW, b, strategy="closest-to-centroid", k=8).tolist() for b in (10, 20))
    assert large[:10] == small


def test_clusters_and_other_columns_that_are_given() -> None:
    cluster = np.arange(120) % 7
    view = PoolView(np.arange(120), cluster=cluster.astype(np.int32), k=7, variability=CONFIDENCE)
    expected = STRATEGIES["ambiguous"].query(view, 20, 1).tolist()
    given: dict[str, Any] = {"cluster": cluster, "variability": CONFIDENCE.tolist(), "seed": 1}
    assert hacon.order(RAW, 20, strategy="ambiguous", **given).tolist() == expected
    probabilities = np.random.default_rng(4).dirichlet(np.ones(3), 120)
    expected = STRATEGIES["margin"].query(PoolView(np.arange(120), probabilities=probabilities), 20, 0).tolist()
    assert hacon.order(RAW, 20, strategy="margin", probabilities=probabilities).tolist() == expected


def test_a_function_of_ones_own() -> None:
    def by_first(view: PoolView, budget: int, seed: int) -> Int64:
        assert view.features is not None
        rows = view.unlabelled_rows
        return view.sample_id[rows[np.argsort(view.features[rows, 0])[:budget]]]

    rows = hacon.order(RAW, 5, strategy=by_first)
    first = (RAW / np.linalg.norm(RAW, axis=1, keepdims=True)).astype(np.float32)[:, 0]
    assert rows.tolist() == np.argsort(first)[:5].tolist()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"features": RAW[:, 0]}, r"features are \(N, D\) real numbers, not \(120,\) of float64"),
        ({"features": RAW.astype(complex)}, "not .* of complex128"),
        ({"features": [["a"]]}, "real numbers, not"),
        ({"features": np.where(np.isin(np.arange(120), [3, 17])[:, None], 0, RAW)}, "2 of 120 rows .* finite: 3, 17$"),
        ({"features": np.where(np.arange(120)[:, None] == 8, np.inf, RAW)}, "1 of 120 rows .* finite: 8$"),
        ({"features": np.where(np.arange(120)[:, None] < 9, np.nan, RAW)}, "9 of 120 rows .*: 0, 1, 2, 3, 4, ...$"),
        ({"budget": 121}, "a budget of 121 from 120 unlabelled samples"),
        ({"budget": 0}, "a budget of 0 from 120"),
        ({"budget": 119, "labelled": [1, 2]}, "a budget of 119 from 118 unlabelled"),
        ({"labelled": [5, 120]}, "labelled rows 5 to 120 are not within 0 to 119"),
        ({"labelled": np.ones(7, bool)}, r"labelled is a mask of shape \(7,\), and there are 120 rows"),
        ({"labelled": [0.5]}, "labelled is row numbers or a mask of bool, not float64"),
        ({"strategy": "greedy-medoid"}, "There is no order 'greedy-medoid'; did you mean 'greedy-medoids'"),
        ({"strategy": "hard-to-contrast"}, "hard-to-contrast needs confidence, which this view lacks"),
        ({"strategy": "hard-to-contrast", "confidence": CONFIDENCE, "k": 121}, "121"),
        ({"confidence": CONFIDENCE[:9]}, r"confidence has shape \(9,\), not \(120\)"),
        ({"cluster": CONFIDENCE}, "cluster holds float64, not whole numbers"),
        ({"cluster": np.arange(120), "k": 7}, "clusters 0 to 119 are not within 0 to 6"),
        ({"labels": CONFIDENCE}, "there is no column 'labels'; choose of cluster, distance"),
        ({"strategy": "closest-to-centroid", "seed": -1}, "seed"),
    ],
)
def test_mistakes_are_value_errors_with_their_numbers(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        hacon.order(**{"features": RAW, "budget": 9, **arguments})


def test_strategies_are_listed() -> None:
    found = hacon.strategies()
    assert list(found) == list(STRATEGIES)
    assert found["greedy-medoids"].nests and found["greedy-medoids"].needs == ("features",)
    assert all(each.paper and each.words for each in found.values())


def test_importing_it_loads_neither_ray_nor_torch_and_ordering_does_not_either() -> None:
    probe = (
        "import sys, hacon, numpy; hacon.order(numpy.eye(9), 3); hacon.strategies();"
        "print(sorted({'ray', 'torch', 'matplotlib', 'boto3'} & {*sys.modules}), hacon.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == f"[] {hacon.__version__}\n" and done.stderr == ""
