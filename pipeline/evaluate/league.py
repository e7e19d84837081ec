"""Features x strategies against random, on the same parts of the pool: who beats chance, and by how much.

Every part is another draw of half the pool, say. Of each part a strategy's figure less the mean of that part's random
queries is one gain; over the parts gains have a mean and a t interval. Parts overlap, so the interval is a little too
narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from pipeline.evaluate.trial import TrialResult

RANDOM = "random"
FIGURES = ("auc_with_chance", "balanced_accuracy")
"""What is compared, both in percent."""


@dataclass(frozen=True)
class Gain:
    """One strategy on one run's features at one budget, against random on the same parts of the pool."""

    run: str
    features: str
    strategy: str
    classifier: str
    budget: int
    figure: str
    parts: int
    random: float
    """Mean of random, in percent."""
    gain: float
    """Mean difference, in points."""
    half: float
    """Half of its 95% interval (Student's t over parts), in points."""
    covered: float
    """Mean share of the classes in the query."""

    @property
    def verdict(self) -> str:
        """above, level or below, as the interval says."""
        return "above" if self.gain > self.half else "below" if self.gain < -self.half else "level"


def gains(run: str, features: str, results: Sequence[TrialResult]) -> list[Gain]:
    """Of all strategies and budgets of a run that have two parts or more; random itself is left out."""
    groups: dict[tuple[str, str, int, int], list[TrialResult]] = {}
    for result in results:
        spec = result.spec
        if spec.share < 1:
            groups.setdefault((spec.classifier, spec.strategy, spec.budget, spec.part), []).append(result)
    rows = sorted({(classifier, strategy, budget) for classifier, strategy, budget, _ in groups})
    made = []
    for classifier, strategy, budget in rows:
        if strategy == RANDOM:
            continue
        parts = [
            part
            for (of, name, size, part) in groups
            if (of, name, size) == (classifier, strategy, budget) and (classifier, RANDOM, budget, part) in groups
        ]
        if len(parts) < 2:
            continue
        ours = [groups[classifier, strategy, budget, part] for part in sorted(parts)]
        chance = [groups[classifier, RANDOM, budget, part] for part in sorted(parts)]
        for figure in FIGURES:
            by_chance = np.array([_mean(trials, figure) for trials in chance])
            found = np.array([_mean(trials, figure) for trials in ours]) - by_chance
            made.append(
                Gain(
                    *(run, features, strategy, classifier, budget, figure, len(parts)),
                    random=float(by_chance.mean()),
                    gain=float(found.mean()),
                    half=half_interval(found),
                    covered=float(np.mean([trial.covered for trials in ours for trial in trials])),
                )
            )
    return made


def half_interval(values: np.ndarray[Any, Any]) -> float:
    """Half of the 95% interval of the mean of ``values`` (n,), n >= 2: t(n - 1) x s / sqrt(n)."""
    from scipy.stats import t

    return float(t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def league_csv(of: Sequence[Gain]) -> list[list[Any]]:
    """Header and rows."""
    names = [each.name for each in fields(Gain)]
    return [[*names, "verdict"], *([_plain(asdict(gain)[name]) for name in names] + [gain.verdict] for gain in of)]


def shares(of: Sequence[Gain], figure: str) -> Mapping[tuple[str, str], tuple[int, int, int]]:
    """(features, strategy) -> how many of its cells lie above, level with and below random."""
    found: dict[tuple[str, str], list[int]] = {}
    for gain in of:
        if gain.figure == figure:
            counts = found.setdefault((gain.features, gain.strategy), [0, 0, 0])
            counts[("above", "level", "below").index(gain.verdict)] += 1
    return {key: (counts[0], counts[1], counts[2]) for key, counts in found.items()}


def _mean(trials: Sequence[TrialResult], figure: str) -> float:
    return float(np.mean([getattr(trial, figure) for trial in trials]))


def _plain(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value
