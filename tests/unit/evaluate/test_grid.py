"""Which trials settings make, and the sentences for those that cannot be. No Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts import PoolManifest
from pipeline.config import RunConfig, TrialsConfig, override
from pipeline.errors import InputError
from pipeline.evaluate.grid import benchmark_specs, choices_of, cycle_specs, published_orders
from pipeline.select import STRATEGIES

CLASSES, SIZE = 8, 100
POOL = PoolManifest(
    name="cells",
    source="npz:cells.npz",
    folder="pools/cells/files-0",
    size=SIZE,
    height=8,
    width=8,
    channels=1,
    splits={"train": SIZE, "test": 20},
    classes=tuple("abcdefgh"),
    duplicates=0,
    rejected=0,
    fingerprint="f",
)
ORDERS = {"authors:hard": np.arange(SIZE), "authors:short": np.arange(15)}


def config(**settings: Any) -> RunConfig:
    """With these settings of the benchmark."""
    return override(RunConfig(), {f"benchmark.{name}": value for name, value in settings.items()})


def test_all_is_every_strategy_wherever_it_can_be() -> None:
    specs = benchmark_specs(config(budgets="7,20", seeds=2, random_seeds=3, uniform="both"), POOL, ORDERS)
    found = {(spec.strategy, spec.budget, spec.uniform): 0 for spec in specs}
    for spec in specs:
        found[spec.strategy, spec.budget, spec.uniform] += 1
    cells = [(7, False), (20, False), (20, True)]  # 7 images are less than one of each class
    expected = {(name, *cell): 2 for name in STRATEGIES for cell in cells}
    expected |= {("random", *cell): 3 for cell in cells}
    expected |= {("random_covered", 20, False): 3}  # 7 images cannot cover 8 classes
    expected |= {("authors:hard", *cell): 2 for cell in cells}
    expected |= {("authors:short", 7, False): 2}  # it ends after 15
    assert found == expected
    assert len({spec.id for spec in specs}) == len(specs)


def test_a_strategy_from_outside_is_named_by_its_module() -> None:
    specs = benchmark_specs(config(strategies="tests.own_strategy:pick", budgets="12", seeds=2), POOL, {})
    assert [spec.strategy for spec in specs] == ["tests.own_strategy:pick"] * 2


def test_what_is_named_is_taken_as_it_is() -> None:
    given = config(strategies="coreset, random,coreset", budgets="12", seeds=4, k=5, temperature=0.01, uniform="on")
    specs = benchmark_specs(given, POOL, {})
    assert [spec.strategy for spec in specs] == ["coreset"] * 4 + ["random"] * 100
    assert {(spec.budget, spec.k, spec.temperature, spec.uniform, spec.scorer) for spec in specs} == {
        (12, 5, 0.01, True, "test")
    }


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "A benchmark needs budgets, such as --budgets 59,119."),
        ({"budgets": "5,101"}, "'benchmark.budgets' is 101, and the pool has 100 images; give at most 100."),
        ({"budgets": "5", "strategies": "coresets"}, "There is no strategy 'coresets'; did you mean 'coreset'?"),
        ({"budgets": "5", "strategies": "authors:hrd"}, "There is no strategy 'authors:hrd'; did you mean 'authors:ha"),
        (
            {"budgets": "5", "strategies": "xyzzy"},
            "There is no strategy 'xyzzy'; choose one of all, random_covered, hard-to",
        ),
        ({"budgets": "5", "strategies": "nowhere:pick"}, "The order 'nowhere:pick' names the module 'nowhere', which"),
        ({"budgets": "7", "strategies": "random_covered"}, "A budget of 7 cannot cover 8 classes; leave out random_"),
        (
            {"budgets": "7", "strategies": "margin", "uniform": "on"},
            "A budget of 7 is less than one of each of 8 classes",
        ),
        ({"budgets": "20", "strategies": "authors:short"}, "The order 'authors:short' ends after 15; leave out 20."),
        (
            {"budgets": "1", "strategies": "margin", "scorer": "labelled"},
            "'margin' with a scorer that is trained on the query so far needs a budget of 2 or more.",
        ),
        ({"budgets": "5", "temperature": 0.07}, "The temperature 0.07 is not accumulated in pre-training; choose one"),
        ({"budgets": "5", "k": 101}, "There are to be 101 clusters of 100 images; give at most 100."),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        benchmark_specs(config(**settings), POOL, ORDERS)
    assert str(caught.value).startswith(sentence)


def test_cycles_are_first_by_later_by_trial() -> None:
    settings = {"cycles.initial": "random,coreset", "cycles.later": "bald,entropy", "cycles.trials": 3}
    specs = cycle_specs(override(RunConfig(), settings), POOL, {})
    assert len(specs) == len({spec.id for spec in specs}) == 2 * 2 * 3
    assert {(spec.initial, spec.later) for spec in specs} == {
        (first, later) for first in ("random", "coreset") for later in ("bald", "entropy")
    }
    assert all(spec.sizes == [20, 30, 40, 50] for spec in specs)
    first, *later = choices_of(specs[0])
    assert (first.strategy, first.budget, first.scorer) == ("random", 20, "test")
    assert [(spec.strategy, spec.budget, spec.scorer) for spec in later] == [
        ("bald", size, "labelled") for size in (30, 40, 50)
    ]
    honest = cycle_specs(override(RunConfig(), {**settings, "cycles.scorer": "labelled"}), POOL, {})
    assert {choices_of(spec)[0].scorer for spec in honest} == {"labelled"}
    assert not {spec.id for spec in honest} & {spec.id for spec in specs}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"end": 101}, "'cycles.end' is 101, and the pool has 100 images; give at most 100."),
        ({"start": 60}, "cycles.start is 60 and cycles.end 50; start with fewer."),
        (
            {"later": "nowhere:pick"},
            "The order 'nowhere:pick' names the module 'nowhere', which cannot be imported; start in the folder of "
            "'nowhere.py', or install its package.",
        ),
        ({"later": "marign"}, "There is no order 'marign'; did you mean 'margin'?"),
        ({"initial": "marign"}, "There is no strategy 'marign'; did you mean 'margin'?"),
    ],
)
def test_cycles_that_cannot_be(settings: dict[str, Any], sentence: str) -> None:
    given = override(RunConfig(), {f"cycles.{name}": value for name, value in settings.items()})
    with pytest.raises(InputError) as caught:
        cycle_specs(given, POOL, {})
    assert str(caught.value) == sentence


def test_orders_are_the_arrays_that_name_each_sample_once(tmp_path: Path) -> None:
    hard = np.random.default_rng(0).permutation(SIZE).astype(np.int32)
    no_orders = {"cluster": np.zeros(SIZE, np.int16), "of_another_pool": np.arange(SIZE + 1), "score": np.arange(9.0)}
    np.savez(tmp_path / "o.npz", hard=hard, cut=hard[:20], **no_orders)
    found = published_orders(TrialsConfig(orders=str(tmp_path / "o.npz")), POOL)
    assert found.keys() == {"authors:hard", "authors:cut"}
    assert np.array_equal(found["authors:hard"], hard) and np.array_equal(found["authors:cut"], hard[:20])


def test_the_authors_file_holds_eleven_orders(shared: Path) -> None:
    from dataclasses import replace

    pool = replace(POOL, size=12_406)
    found = published_orders(TrialsConfig(orders=str(shared / "reference/cifar10lt.npz")), pool)
    ours = "hard easy ambiguous consistency vaal margin entropy coreset bald gt_easy gt_hard gt_ambiguous"
    assert found.keys() == {f"authors:{name}" for name in ours.split()}


def test_files_without_orders(tmp_path: Path) -> None:
    np.savez(tmp_path / "o.npz", cluster=np.zeros(SIZE, int))
    (tmp_path / "text.npz").write_text("text")
    np.savez(tmp_path / "pickled.npz", hard=np.array([{}]))
    for name, words in (
        ("o.npz", "holds no order of the 100 images of 'cells'; check it."),
        ("none.npz", "cannot be read"),
        ("text.npz", "cannot be read"),
        ("pickled.npz", "cannot be read"),
    ):
        with pytest.raises(InputError, match=words):
            published_orders(TrialsConfig(orders=str(tmp_path / name)), POOL)
