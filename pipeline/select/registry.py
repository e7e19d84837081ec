"""Every strategy by its name. A new one is one function under ``register``, here or in a module of your own."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.artifacts import Int64
from pipeline.errors import InputError, did_you_mean
from pipeline.select.pool_view import COLUMNS, PoolView

Pick = Callable[[PoolView, int, int], Int64]
_Pick = TypeVar("_Pick", bound=Pick)

FAMILIES = {
    "contrast map": "The regions of the dataset maps",
    "ablation": "Ablations",
    "published": "Published active selection",
    "truth map": "The regions of the dataset maps",
    "low budget": "Made for low budgets",
    "other": "Other orders",
}
"""Family of a strategy -> title of the figure that draws it; also the order of the families in tables."""
ENTRY_POINTS = "hacon.strategies"
"""The entry point group by which an installed package offers strategies."""
RESERVED = ("all", "random_covered", "authors")
"""No strategy's names: the benchmark means something else by them. ``authors:NAME`` is a published order."""


@dataclass(frozen=True)
class Strategy:
    """A way to choose samples of a pool. Call ``query`` or ``order``, which check what ``pick`` trusts in."""

    name: str
    pick: Pick
    """(view with its rows in ``sample_id`` order, budget, seed) -> (budget,) sample ids, first = label first."""
    needs: tuple[str, ...] = ()
    """The columns of ``PoolView`` without which it cannot run."""
    nests: bool = False
    """Whether a larger budget continues a smaller one, labelled meanwhile or not, on the same columns and seed."""
    sees_labels: bool = False
    """Whether a column it needs was made with the pool's labels: for analysis only."""
    family: str = "other"
    """Of the figures: a key of ``FAMILIES``."""
    paper: str = ""
    """Where it comes from, in short."""
    words: str = ""
    """What comes first, as a clause for the report."""
    why: str = ""
    """Why that is worth a label, as a sentence or two for the report."""

    @property
    def scorer(self) -> bool:
        """Whether it runs on a trained classifier's predictions."""
        return not {"probabilities", "probability_draws", "probability_views"}.isdisjoint(self.needs)

    @property
    def by_turns(self) -> bool:
        """Whether the given clusters take turns; beside features they only say what is compared."""
        return not {"cluster", "pixel_cluster"}.isdisjoint(self.needs) and "features" not in self.needs

    def missing(self, view: PoolView) -> list[str]:
        """The columns that it needs and ``view`` lacks."""
        return [column for column in self.needs if getattr(view, column) is None]

    def query(self, view: PoolView, budget: int, seed: int) -> Int64:
        """(budget,) sample ids to label, first = label first; the order of the view's rows does not matter.

        Raises:
            ValueError: the view lacks a column that the strategy needs or has too few unlabelled samples, or the
                strategy gave something other than ``budget`` different unlabelled samples.
            InputError: the pool, or its size, is not for this strategy.
        """
        if missing := self.missing(view):
            raise ValueError(f"{self.name} needs {' and '.join(missing)}, which this view lacks")
        free = view.sample_id[view.unlabelled_rows]
        if not 1 <= budget <= len(free):
            raise ValueError(f"a budget of {budget} from {len(free)} unlabelled samples")
        # A sum over several threads depends on their number, and a query must not.
        with threadpool_limits(limits=1):
            ids = np.asarray(self.pick(view.by_sample_id(), budget, seed))
        if ids.shape != (budget,) or not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(f"{self.name} gave {ids.dtype} of shape {ids.shape}, not {budget} sample ids")
        if repeated := budget - len(np.unique(ids)):
            raise ValueError(f"{self.name} repeats {repeated} of {budget} samples")
        if outside := int((~np.isin(ids, free)).sum()):
            raise ValueError(f"{self.name} chose {outside} of {budget} samples that are labelled or not in the pool")
        return ids.astype(np.int64, copy=False)

    def order(self, view: PoolView, seed: int) -> Int64:
        """(M,) ids of all M unlabelled samples, first = label first; raises as ``query``."""
        return self.query(view, len(view.unlabelled_rows), seed)


STRATEGIES: dict[str, Strategy] = {}
"""By name: family by family, each in the order of registration."""


def register(
    name: str,
    *,
    needs: tuple[str, ...] = (),
    nests: bool = False,
    sees_labels: bool = False,
    family: str = "other",
    paper: str = "",
    words: str = "",
    why: str = "",
) -> Callable[[_Pick], _Pick]:
    """Decorator: make a function ``(view, budget, seed) -> sample ids`` the strategy ``name``; returns the function.

    The function gets a ``PoolView`` whose rows are in ascending order of ``sample_id``. It returns ``budget`` different
    ids of unlabelled samples, the first to be labelled first. ``Strategy`` says what the arguments mean.

    Raises:
        ValueError: a name that is taken or cannot be a file's, an unknown column in ``needs``, an unknown family.
    """
    if not re.fullmatch(r"\w[\w.-]*", name) or name in RESERVED:
        raise ValueError(
            f"a strategy's name has letters, digits, '-', '_' and '.', and is none of {RESERVED}: '{name}'"
        )
    if unknown := [column for column in needs if column not in COLUMNS]:
        raise ValueError(f"'{name}' needs '{unknown[0]}', which no pool has; choose of {', '.join(COLUMNS)}")
    if family not in FAMILIES:
        raise ValueError(f"'{name}' is of the family '{family}'; choose of {', '.join(FAMILIES)}")

    def add(pick: _Pick) -> _Pick:
        known = STRATEGIES.get(name)
        if known is not None and _place(known.pick) != _place(pick):  # a module that is loaded again is welcome
            raise ValueError(f"there is a strategy '{name}' in {known.pick.__module__} already; choose another name")
        STRATEGIES[name] = Strategy(name, pick, needs, nests, sees_labels, family, paper, words, why)
        families = list(FAMILIES)
        ordered = sorted(STRATEGIES.items(), key=lambda item: families.index(item[1].family))
        STRATEGIES.clear()
        STRATEGIES.update(ordered)
        return pick

    return add


def strategy(name: str) -> Strategy:
    """The strategy called ``name``: a registered one, ``module:function``, or an entry point of an installed package.

    Raises:
        InputError: there is none of that name; names the closest.
    """
    if (found := STRATEGIES.get(name)) is not None:
        return found
    module, colon, function = name.partition(":")
    if colon and module not in RESERVED:
        return _imported(name, module, function)
    if module not in RESERVED and name in _offered():
        return strategy_of(_offered()[name].load(), name)
    hint = did_you_mean(name, STRATEGIES, f"choose one of {', '.join(STRATEGIES)}, or MODULE:FUNCTION.")
    raise InputError(f"There is no order '{name}'; {hint}")


def find(name: str) -> Strategy | None:
    """As ``strategy``, but None where there is none: an oracle, a published order, or a module that is not here."""
    try:
        return strategy(name)
    except InputError:
        return None


def strategy_of(function: Any, name: str) -> Strategy:
    """The strategy that a function was registered as; one that was not is called ``name`` and needs the features.

    Raises:
        InputError: it is not a function.
    """
    if not callable(function):
        raise InputError(f"The order '{name}' is {type(function).__name__}, not a function (view, budget, seed).")
    registered = (each for each in STRATEGIES.values() if each.pick is function)
    return next(registered, None) or Strategy(name, function, ("features",))


def load_entry_points() -> None:
    """Import what installed packages offer under ``ENTRY_POINTS``, so that decorated ones are in ``STRATEGIES``."""
    for entry in _offered().values():
        entry.load()


@cache
def _offered() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}


@cache
def _imported(name: str, module: str, function: str) -> Strategy:
    """Also from the working directory, which Ray puts on its workers' path and ``hacon`` lacks on its own."""
    if not {"", os.getcwd()} & {*sys.path}:
        sys.path.append(os.getcwd())
    try:
        loaded = importlib.import_module(module)
    except (ModuleNotFoundError, ValueError) as error:  # ValueError: an empty name
        if isinstance(error, ModuleNotFoundError) and not f"{module}.".startswith(f"{error.name}."):
            raise  # found, but something that it imports is missing
        raise InputError(
            f"The order '{name}' names the module '{module}', which cannot be imported; start in the folder of "
            f"'{module.partition('.')[0]}.py', or install its package."
        ) from None
    if not hasattr(loaded, function):
        hint = did_you_mean(function, dir(loaded), "check the name after the colon.")
        raise InputError(f"The module '{module}' has no function '{function}'; {hint}")
    return strategy_of(getattr(loaded, function), name)


def _place(function: Any) -> tuple[str, str]:
    return function.__module__, function.__qualname__
