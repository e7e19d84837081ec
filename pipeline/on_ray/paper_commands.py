"""The commands that make, or made, the parts of the page of the paper's tables and figures. Text only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.config import RunConfig, this_run
from pipeline.evaluate.cycles import LATER, CycleResult
from pipeline.evaluate.spec import RANDOM_COVERED, TrialSpec
from pipeline.evaluate.trial import TrialResult
from pipeline.on_ray.paper_tables import usual_k
from pipeline.report.paper_data import Commands
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
    budgets = ",".join(map(str, sorted({spec.budget for spec in specs} or _BUDGETS.get(dataset or "", (20, 50, 100)))))
    classifier = _classifier(specs)
    ks = sorted({spec.k for spec in specs if spec.strategy == SWEPT and spec.k is not None})
    swept = " ".join(map(str, ks)) if len(ks) > 1 else _SUGGESTED_K
    some = f"hacon benchmark {run} --budgets {budgets} --seeds {_seeds(specs)}{classifier}"
    return Commands(
        page=f"hacon report --paper {run}",
        benchmark=benchmark_command(config, [trial.spec for trial in usual_k(trials)])
        or f"{some} --strategies all --uniform both",
        ablations=f"{some} --strategies {','.join(ABLATIONS)}",
        sweep=f"for k in {swept}; do {some} --strategies {SWEPT} --k $k; done",
        cycles=_cycles(run, curves),
        maps=f"hacon select {run}",
        truth=f"{some} --strategies {','.join(TRUTH)}",
    )


def benchmark_command(config: RunConfig, specs: Sequence[TrialSpec]) -> str:
    """Commands that make these trials, one for each classifier, scorer and K; empty where there are none.

    Where the grid has holes (a trial failed, or grids of several calls lie one over the other) they fill them.
    """
    groups: dict[tuple[str, str, int | None], list[TrialSpec]] = {}
    for spec in specs:
        groups.setdefault((spec.classifier, spec.scorer, spec.k), []).append(spec)
    return " && ".join(_grid(this_run(config), group) for group in groups.values())


def _grid(run: str, specs: Sequence[TrialSpec]) -> str:
    first = specs[0]
    names = {spec.strategy for spec in specs}
    known = [name for name in (RANDOM_COVERED, *STRATEGIES) if name in names]
    every = len(known) > len(STRATEGIES)
    uniform = {spec.uniform for spec in specs}
    chance = [spec.seed for spec in specs if spec.strategy in ("random", RANDOM_COVERED)]
    return (
        f"hacon benchmark {run} --strategies {'all' if every else _commas([*known, *sorted(names - {*known})])}"
        f" --uniform {'both' if len(uniform) > 1 else 'on' if uniform == {True} else 'off'}"
        f" --budgets {_commas(sorted({spec.budget for spec in specs}))} --seeds {_seeds(specs)}"
        f" --classifier {first.classifier}"
        + ("" if first.scorer == "test" else f" --scorer {first.scorer}")
        + ("" if first.k is None else f" --k {first.k}")
        + (f" --set benchmark.random_seeds={max(chance) + 1}" if chance else "")
    )


def _cycles(run: str, curves: Sequence[CycleResult]) -> str:
    if not curves:
        return f"hacon cycles {run} --later {_commas(LATER)}"
    groups: dict[str, list[CycleResult]] = {}
    for curve in curves:
        groups.setdefault(curve.spec.classifier, []).append(curve)
    return " && ".join(
        f"hacon cycles {run} --initial {_commas(dict.fromkeys(each.spec.initial for each in group))}"
        f" --later {_commas(dict.fromkeys(each.spec.later for each in group))}"
        f" --trials {max(each.spec.seed for each in group) + 1} --classifier {classifier}"
        for classifier, group in groups.items()
    )


def _seeds(specs: Sequence[TrialSpec]) -> int:
    """Trials a strategy and budget; chance has more of its own."""
    return max((spec.seed for spec in specs if spec.strategy not in ("random", RANDOM_COVERED)), default=2) + 1


def _classifier(specs: Sequence[TrialSpec]) -> str:
    return f" --classifier {specs[0].classifier}" if specs else ""


def _commas(items: Iterable[object]) -> str:
    return ",".join(map(str, items))
