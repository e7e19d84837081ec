"""Which trials a benchmark and active-learning cycles are made of: settings -> specs, checked before Ray starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import Int64, PoolManifest, matching_temperature
from pipeline.config import RunConfig, TrialsConfig
from pipeline.data.given import is_given
from pipeline.errors import InputError, did_you_mean
from pipeline.evaluate.cycles import CycleSpec
from pipeline.evaluate.spec import PUBLISHED, RANDOM_COVERED, TrialSpec, grid
from pipeline.plan import trains
from pipeline.progress import counted
from pipeline.select import STRATEGIES, find, strategy
from pipeline.storage import Location

ALL = "all"
_UNIFORM = {"off": (False,), "on": (True,), "both": (False, True)}


def benchmark_specs(config: RunConfig, pool: PoolManifest, orders: Mapping[str, Int64]) -> list[TrialSpec]:
    """The trials of a benchmark. Of "all" strategies those are left out that a budget is not for.

    Raises:
        InputError: an unknown strategy (names the closest), a budget that it or the pool cannot give.
    """
    settings = config.benchmark
    if not settings.budgets:
        raise InputError("A benchmark needs budgets, such as --budgets 59,119.")
    _check_size("benchmark.budgets", settings.budgets, pool)
    temperature, k = _temperature(config, settings), _clusters(settings, pool)
    everything, lacks = ALL in settings.strategies, _lacks(config)
    names = [RANDOM_COVERED, *STRATEGIES, *orders] if everything else _known(settings.strategies, orders)
    specs = grid(
        names,
        settings.budgets,
        settings.seeds,
        uniform=_UNIFORM[settings.uniform],
        random_seeds=settings.random_seeds,
        share=settings.share,
        classifier=settings.classifier,
        k=k,
        temperature=temperature,
        scorer=settings.scorer,
    )
    impossible = {spec.id: why for spec in specs if (why := _impossible(spec, pool, orders, lacks))}
    if impossible and not everything:
        raise InputError(next(iter(impossible.values())))
    return [spec for spec in specs if spec.id not in impossible]


def cycle_specs(config: RunConfig, pool: PoolManifest, orders: Mapping[str, Int64]) -> list[CycleSpec]:
    """The curves to run.

    Raises:
        InputError: as ``benchmark_specs``, or sizes that make no curve.
    """
    settings = config.cycles
    _check_size("cycles.end", (settings.end,), pool)
    if settings.start > settings.end:
        raise InputError(f"cycles.start is {settings.start} and cycles.end {settings.end}; start with fewer.")
    initial = [RANDOM_COVERED, *STRATEGIES, *orders] if ALL in settings.initial else _known(settings.initial, orders)
    for name in settings.later:
        strategy(name)
    specs = [
        CycleSpec(
            first,
            later,
            seed,
            classifier=settings.classifier,
            start=settings.start,
            step=settings.step,
            end=settings.end,
            k=_clusters(settings, pool),
            temperature=_temperature(config, settings),
            scorer=settings.scorer,
        )
        for first in initial
        for later in settings.later
        for seed in range(settings.trials)
    ]
    lacks = _lacks(config)
    impossible = {spec.id: why for spec in specs if (why := _impossible(choices_of(spec)[0], pool, orders, lacks))}
    if impossible and ALL not in settings.initial:
        raise InputError(next(iter(impossible.values())))
    return [spec for spec in specs if spec.id not in impossible]


def choices_of(spec: CycleSpec) -> list[TrialSpec]:
    """What a curve's strategies ask for, as trials do: the initial one's query, then the later one's."""
    later = replace(spec.first, strategy=spec.later, k=None, scorer="labelled")
    return [spec.first, *(replace(later, budget=size) for size in spec.sizes[1:])]


def published_orders(settings: TrialsConfig, pool: PoolManifest) -> dict[str, Int64]:
    """The orders in ``settings.orders`` by the names they have here; arrays that are no order are passed over.

    Raises:
        InputError: no such file, no archive, or no order of this pool in it.
    """
    if settings.orders is None:
        return {}
    folder, slash, file = settings.orders.rpartition("/")
    try:
        with Location(folder or slash or ".").open(file) as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise InputError(
            f"The orders in '{settings.orders}' cannot be read ({error}); give an .npz of arrays."
        ) from None
    found = {PUBLISHED + name: array.astype(np.int64) for name, array in arrays.items() if _is_order(array, pool.size)}
    if not found:
        raise InputError(
            f"'{settings.orders}' holds no order of the {counted(pool.size, 'image')} of '{pool.name}'; check it."
        )
    return found


def _is_order(array: NDArray[Any], size: int) -> bool:
    """Whether it names samples of a pool, each once; the end of the order may be missing."""
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer) or not 0 < len(array) <= size:
        return False
    return bool(array.min() >= 0 and array.max() < size and len(np.unique(array)) == len(array))


def _known(names: Sequence[str], orders: Iterable[str]) -> list[str]:
    known = [RANDOM_COVERED, *STRATEGIES, *orders]
    for name in names:
        if ":" in name and not name.startswith(PUBLISHED):
            strategy(name)  # says what is wrong with it
        elif name not in known and find(name) is None:
            raise InputError(f"There is no strategy '{name}'; {did_you_mean(name, [ALL, *known])}")
    return list(dict.fromkeys(names))


def _check_size(key: str, sizes: Sequence[int], pool: PoolManifest) -> None:
    if max(sizes) > pool.size:
        raise InputError(
            f"'{key}' is {max(sizes)}, and the pool has {counted(pool.size, 'image')}; give at most {pool.size}."
        )


def _lacks(config: RunConfig) -> dict[str, str]:
    """Columns that no trial of this run has -> why."""
    lacks: dict[str, str] = {}
    if not trains(config):
        lacks |= dict.fromkeys(("confidence", "variability"), "this run has not trained MoCo")
    if is_given(config.embed.features):
        lacks["probability_views"] = "there are no features of altered copies"
    return lacks


def _impossible(spec: TrialSpec, pool: PoolManifest, orders: Mapping[str, Int64], lacks: Mapping[str, str]) -> str:
    """Why a trial cannot be; empty where it can."""
    assert pool.classes is not None
    if spec.budget > len(spec.rows(pool.size)):
        return f"A budget of {spec.budget} is more than the {spec.share:g} of {pool.size} images; lower it."
    if spec.share < 1 and (spec.uniform or spec.strategy in orders or spec.strategy == RANDOM_COVERED):
        return f"'{spec.strategy}' with labels or a published order is for the whole pool; leave benchmark.share out."
    if spec.share < 1 and spec.scorer == "labelled" and (one := find(spec.strategy)) is not None and one.scorer:
        return f"'{spec.strategy}' with a scorer of its own is for the whole pool; leave benchmark.share out."
    if spec.strategy == RANDOM_COVERED and spec.budget < len(pool.classes):
        return f"A budget of {spec.budget} cannot cover {len(pool.classes)} classes; leave out random_covered."
    if spec.uniform and spec.budget < len(pool.classes):
        return f"A budget of {spec.budget} is less than one of each of {len(pool.classes)} classes; leave out uniform."
    if spec.strategy in orders and spec.budget > len(orders[spec.strategy]):
        return f"The order '{spec.strategy}' ends after {len(orders[spec.strategy])}; leave out {spec.budget}."
    chosen_by = find(spec.strategy)
    if chosen_by is not None and chosen_by.scorer and spec.scorer == "labelled" and spec.budget < 2:
        return f"'{spec.strategy}' with a scorer that is trained on the query so far needs a budget of 2 or more."
    for column in chosen_by.needs if chosen_by is not None else ():
        if column in lacks:
            return f"'{spec.strategy}' needs {column}, and {lacks[column]}; leave it out."
    return ""


def _temperature(config: RunConfig, settings: TrialsConfig) -> float:
    wanted = config.query.temperature if settings.temperature is None else settings.temperature
    have = config.pretrain.confidence_temperatures
    near = matching_temperature(wanted, have)
    if near is None:
        raise InputError(
            f"The temperature {wanted} is not accumulated in pre-training; choose one of {', '.join(map(str, have))}."
        )
    return near


def _clusters(settings: TrialsConfig, pool: PoolManifest) -> int | None:
    if settings.k is not None and settings.k > pool.size:
        raise InputError(
            f"There are to be {counted(settings.k, 'cluster')} of {counted(pool.size, 'image')}; "
            f"give at most {pool.size}."
        )
    return settings.k
