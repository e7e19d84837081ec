"""The decorator, names from outside (``module:function``, entry points), and what a strategy may return."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts import Int64
from pipeline.errors import InputError
from pipeline.evaluate.cycles import CycleSpec
from pipeline.evaluate.spec import TrialSpec
from pipeline.select import STRATEGIES, PoolView, Strategy, find, register, registry, strategy

VIEW = PoolView(np.array([30, 10, 20]), features=np.eye(3, dtype=np.float32))
OWN = """
from pipeline.select import register

@register("own-{number}", needs=("confidence",), nests=True)
def decorated(view, budget, seed):
    return view.sample_id[view.confidence.argsort()[:budget]]

def plain(view, budget, seed):
    return view.sample_id[:budget].tolist()

VALUE = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a module in the current directory, which is not on the path."""
    name = f"own_strategies_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(OWN.format(number=name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    yield name
    STRATEGIES.pop(f"own-{name}", None)
    sys.modules.pop(name, None)
    registry._imported.cache_clear()


def test_a_module_in_the_current_directory(module: str) -> None:
    plain, decorated = strategy(f"{module}:plain"), strategy(f"{module}:decorated")
    assert (plain.name, plain.needs, plain.nests) == (f"{module}:plain", ("features",), False)
    assert plain.query(VIEW, 2, seed=0).tolist() == [10, 20]
    assert (decorated.name, decorated.needs, decorated.nests) == (f"own-{module}", ("confidence",), True)
    assert strategy(f"own-{module}") is decorated
    assert strategy(f"{module}:plain") is plain
    assert find(f"{module}:decorated") is decorated


def test_what_cannot_be_imported_is_one_sentence(module: str, tmp_path: Path) -> None:
    for name, sentence in (
        ("no_such_module:pick", "names the module 'no_such_module', which cannot be imported; start in the folder of"),
        (f"{module}.deeper:pick", "cannot be imported"),
        (":pick", "cannot be imported"),
        (f"{module}:plane", f"The module '{module}' has no function 'plane'; did you mean 'plain'?"),
        (f"{module}:", "has no function ''; check the name after the colon."),
        (f"{module}:VALUE", f"The order '{module}:VALUE' is int, not a function"),
        ("authors:hard", "There is no order 'authors:hard'; "),
    ):
        with pytest.raises(InputError, match=sentence.replace("(", r"\(")):
            strategy(name)
        assert find(name) is None
    (tmp_path / f"{module}_b.py").write_text("import nowhere_to_be_found")
    with pytest.raises(ModuleNotFoundError, match="nowhere_to_be_found"):
        strategy(f"{module}_b:pick")  # its author's mistake, and it needs the traceback


def test_an_entry_point_of_an_installed_package(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    offered = [EntryPoint("theirs", f"{module}:plain", registry.ENTRY_POINTS)]
    monkeypatch.setattr(registry, "_offered", lambda: {each.name: each for each in offered})
    sys.path.append("")
    assert strategy("theirs").name == "theirs"
    assert find("ours") is None
    registry.load_entry_points()
    assert f"own-{module}" in STRATEGIES


def test_names_of_trials_are_safe_as_file_names() -> None:
    assert TrialSpec("my_module:pick", 7, 0).id.startswith("my_module.pick-7-0-probe-")
    assert CycleSpec("a.b:pick", "my_module:pick", 0).id.startswith("a.b.pick-then-my_module.pick-0-probe-")
    assert not TrialSpec("my_module:pick", 7, 0).is_oracle


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("all", {}, "is none of"),
        ("a:b", {}, "a strategy's name has letters"),
        ("../up", {}, "a strategy's name has letters"),
        ("coreset", {}, "there is a strategy 'coreset' in pipeline.select.by_features already"),
        ("mine", {"needs": ("labels",)}, "needs 'labels', which no pool has; choose of cluster, distance"),
        ("mine", {"family": "best"}, "is of the family 'best'; choose of contrast map"),
    ],
)
def test_what_the_decorator_refuses(name: str, settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        register(name, **settings)(lambda view, budget, seed: view.sample_id)
    assert "mine" not in STRATEGIES


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ([10], r"own gave int64 of shape \(1,\), not 2 sample ids"),
        ([0.5, 0.7], r"own gave float64 of shape \(2,\), not 2 sample ids"),
        ([10, 10], "own repeats 1 of 2 samples"),
        ([10, 40], "own chose 1 of 2 samples that are labelled or not in the pool"),
    ],
)
def test_what_a_strategy_may_not_return(given: list[Any], sentence: str) -> None:
    def pick(view: PoolView, budget: int, seed: int) -> Int64:
        return np.array(given)

    with pytest.raises(ValueError, match=sentence):
        Strategy("own", pick).query(VIEW, 2, seed=0)


def test_the_documentation_has_a_row_for_every_strategy() -> None:
    page = (Path(__file__).parents[3] / "docs/strategies.md").read_text().splitlines()
    for name, each in STRATEGIES.items():
        words, nests = each.words + (" ‡" if each.sees_labels else ""), "yes" if each.nests else "no"
        needs = ", ".join(f"`{column}`" for column in each.needs) or "nothing"
        assert f"| `{name}` | {words} | {needs} | {nests} | {each.paper} |" in page
