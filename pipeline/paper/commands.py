"""The commands that make, or made, the parts of the page of the paper's tables and figures. Text only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from shlex import quote

from pipeline.config import CyclesConfig, RunConfig, TrialsConfig, this_run
from pipeline.evaluate.cycles import LATER, CycleResult, CycleSpec
from pipeline.evaluate.spec import RANDOM_COVERED, TrialSpec
from pipeline.evaluate.trial import TrialResult
from pipeline.paper.data import Commands
from pipeline.paper.tables import usual_k
from pipeline.select import STRATEGIES

ABLATIONS = {
    "hard-to-contrast": "HaCon",
    "pixel-clusters": "without contrastive features",
    "closest-to-centroid": "without hard-to-contrast",
    "lowest-confidence": "without K-means",
    "random": "random",
}
"""Fig. 3: strategy -> what it stands for."""
TRUTH = ("easy-to-learn", "hard-to-learn", "ambiguous-to-learn")
SWEPT = "hard-to-contrast"
_BUDGETS: dict[str, tuple[int, ...]] = {
    "pathmnist": (13, 26, 449, 899),
    "organamnist": (34, 69, 172, 345),
    "bloodmnist": (11, 23, 59, 119),
    "cifar10-lt": (24, 37, 124, 620),
}
"""The paper's, by data set; of others ours to suggest."""
_SUGGESTED_K = "5 10 20 30"


def commands(
    config: RunConfig, trials: Sequence[TrialResult], curves: Sequence[CycleResult], dataset: str | None
) -> Commands:
    """What made the trials and curves that are there; where there are none, what would make them."""
    run = this_run(config)
    specs = [trial.spec for trial in trials]
    budgets = _commas(sorted({spec.budget for spec in specs} or _BUDGETS.get(dataset or "", (20, 50, 100))))
    some = f"hacon benchmark {run} --budgets {budgets} --seeds {_seeds(specs)}"
    ks = sorted({spec.k for spec in specs if spec.strategy == SWEPT and spec.k is not None})
    swept = " ".join(map(str, ks)) if len(ks) > 1 else _SUGGESTED_K

    def of(names: Sequence[str]) -> str:
        found = [trial.spec for trial in usual_k(trials) if trial.spec.strategy in names and not trial.spec.uniform]
        return benchmark_command(config, found) or f"{some} --strategies {quote(','.join(names))}"

    return Commands(
        page=f"hacon report --paper {run}",
        benchmark=benchmark_command(config, [trial.spec for trial in usual_k(trials)])
        or f"{some} --strategies all --uniform both",
        ablations=of(tuple(ABLATIONS)),
        sweep=f"for k in {swept}; do {some} --strategies {SWEPT} --k $k; done",
        cycles=_cycles(config, curves),
        maps=f"hacon select {run}",
        truth=of(TRUTH),
    )


def benchmark_command(config: RunConfig, specs: Sequence[TrialSpec]) -> str:
    """Commands that make these trials, one for each classifier, scorer, K and temperature; empty where there are none.

    Where the grid has holes (a trial failed, or grids of several calls lie one over the other) they fill them.
    """
    groups: dict[tuple[str, str, int | None, float], list[TrialSpec]] = {}
    for spec in specs:
        groups.setdefault((spec.classifier, spec.scorer, spec.k, spec.temperature), []).append(spec)
    return " && ".join(_grid(config, group) for group in groups.values())


def _grid(config: RunConfig, specs: Sequence[TrialSpec]) -> str:
    first = specs[0]
    names = {spec.strategy for spec in specs}
    known = [name for name in (RANDOM_COVERED, *STRATEGIES) if name in names]
    every = len(known) > len(STRATEGIES)
    uniform = {spec.uniform for spec in specs}
    chance = [spec.seed for spec in specs if spec.strategy in ("random", RANDOM_COVERED)]
    settings = _settings(config, "benchmark", config.benchmark, first.temperature, first.classifier)
    settings |= {"benchmark.random_seeds": max(chance) + 1} if chance else {}
    settings |= {"benchmark.dataset": config.benchmark.dataset} if config.benchmark.dataset else {}
    return (
        f"hacon benchmark {this_run(config)}"
        f" --strategies {'all' if every else quote(_commas([*known, *sorted(names - {*known})]))}"
        f" --uniform {'both' if len(uniform) > 1 else 'on' if uniform == {True} else 'off'}"
        f" --budgets {_commas(sorted({spec.budget for spec in specs}))} --seeds {_seeds(specs)}"
        f" --classifier {quote(first.classifier)}"
        + ("" if first.scorer == "test" else f" --scorer {first.scorer}")
        + ("" if first.k is None else f" --k {first.k}")
        + _set(settings)
    )


def _cycles(config: RunConfig, curves: Sequence[CycleResult]) -> str:
    if not curves:
        return f"hacon cycles {this_run(config)} --later {_commas(LATER)}"
    groups: dict[CycleSpec, list[CycleSpec]] = {}
    for curve in curves:
        groups.setdefault(replace(curve.spec, initial="", later="", seed=0), []).append(curve.spec)
    made = []
    for kind, specs in groups.items():
        sizes = {"start": kind.start, "step": kind.step, "end": kind.end}
        usual = CyclesConfig()
        settings: dict[str, object] = {
            f"cycles.{name}": size for name, size in sizes.items() if size != getattr(usual, name)
        }
        settings |= _settings(config, "cycles", config.cycles, kind.temperature, kind.classifier)
        made.append(
            f"hacon cycles {this_run(config)} --initial {quote(_commas(dict.fromkeys(spec.initial for spec in specs)))}"
            f" --later {quote(_commas(dict.fromkeys(spec.later for spec in specs)))}"
            f" --trials {max(spec.seed for spec in specs) + 1} --classifier {quote(kind.classifier)}"
            + ("" if kind.scorer == "test" else f" --scorer {kind.scorer}")
            + ("" if kind.k is None else f" --k {kind.k}")
            + _set(settings)
        )
    return " && ".join(made)


def _settings(
    config: RunConfig, group: str, given: TrialsConfig, temperature: float, classifier: str
) -> dict[str, object]:
    """What else decides the trials and is not as it would be unasked."""
    named: dict[str, object] = {"n_init": given.n_init, "orders": given.orders}
    if temperature != config.query.temperature:
        named["temperature"] = temperature
    if classifier == given.classifier != "probe":
        named |= {"network": given.network, "imagenet_weights": given.imagenet_weights}
    return {f"{group}.{name}": value for name, value in named.items() if value is not None}


def _set(settings: Mapping[str, object]) -> str:
    return " --set " + " ".join(quote(f"{name}={value}") for name, value in settings.items()) if settings else ""


def _seeds(specs: Sequence[TrialSpec]) -> int:
    """Trials a strategy and budget; chance has more of its own."""
    return max((spec.seed for spec in specs if spec.strategy not in ("random", RANDOM_COVERED)), default=2) + 1


def _commas(items: Iterable[object]) -> str:
    return ",".join(map(str, items))
