"""Which trials there are: what a trial's result depends on, and the grid of a benchmark."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from pipeline.artifacts import Int64, fingerprint
from pipeline.cluster import default_k
from pipeline.select import find

RANDOM_COVERED = "random_covered"
"""The one choice that is no strategy but an oracle (docs/method.md, decision 17)."""
PUBLISHED = "authors:"
"""Begins the name of a published order."""
FROM_LABELS = "gt_"
"""Begins the name of an array whose order was made with ground truth, in the authors' files (`gt_hard`)."""


@dataclass(frozen=True)
class TrialSpec:
    """All that a trial's result depends on, beside the data."""

    strategy: str
    """Of ``pipeline.select``, or MODULE:FUNCTION; ``random_covered``; or of ``Parts.orders`` (``authors:hard``)."""
    budget: int
    seed: int
    """Of the query, of the clustering and scorer it is made with, and of the classifier."""
    classifier: str = "probe"
    uniform: bool = False
    """Whether the oracle of label diversity takes from the strategy's order (the paper's "Unif.")."""
    k: int | None = None
    """Clusters; none: the budget, 30 at most (docs/method.md, decision 9)."""
    temperature: float = 0.05
    """Of the confidence."""
    scorer: Literal["test", "labelled"] = "test"
    """What the uncertainty strategies' model was trained on (docs/method.md, decision 16): the test split, as in the
    paper, or the first half of the query, drawn at random. The strategy then chooses the second half."""
    share: float = 1.0
    """Of the pool, from which the strategy may choose."""
    part: int = 0
    """Which part that is: its number is the seed of the draw. Strategies of one part have the same images."""

    @property
    def clusters(self) -> int:
        """K."""
        return default_k(self.budget) if self.k is None else self.k

    def rows(self, size: int) -> Int64:
        """Ascending ids of the samples from which the strategy may choose, of ``size``."""
        if self.share == 1:
            return np.arange(size)
        most = max(1, round(self.share * size))
        return np.sort(np.random.default_rng((self.part, size)).choice(size, most, replace=False))

    @property
    def by_itself_an_oracle(self) -> bool:
        """Whether what chooses has seen the pool's hidden labels, whatever ``uniform`` adds."""
        if (chosen_by := find(self.strategy)) is not None:
            return chosen_by.sees_labels
        return self.strategy == RANDOM_COVERED or self.strategy.startswith(PUBLISHED + FROM_LABELS)

    @property
    def is_oracle(self) -> bool:
        """Whether the query is made with the pool's hidden labels."""
        return self.uniform or self.by_itself_an_oracle

    @property
    def saw_test_labels(self) -> bool:
        """Whether the query is made with a scorer that was trained on the test split."""
        chosen_by = find(self.strategy)
        return self.scorer == "test" and chosen_by is not None and chosen_by.scorer

    @property
    def id(self) -> str:
        """A name for files and logs: readable, and different for any two different trials."""
        settings = asdict(self)
        if self.share == 1:  # the names of versions that knew of no parts
            del settings["share"], settings["part"]
        digest = fingerprint(json.dumps(settings, sort_keys=True))[:10]
        kind = "-uniform" if self.uniform else ""
        return f"{self.strategy.replace(':', '.')}{kind}-{self.budget}-{self.seed}-{self.classifier}-{digest}"


def grid(
    strategies: Sequence[str],
    budgets: Sequence[int],
    seeds: int,
    *,
    uniform: Iterable[bool] = (False,),
    random_seeds: int | None = None,
    share: float = 1.0,
    **settings: Any,
) -> list[TrialSpec]:
    """The trials of a benchmark: strategies x uniform x budgets x seeds, without those that say nothing new.

    Args:
        random_seeds: of random and random_covered, whose spread is the yardstick (the paper: 100); none: ``seeds``.
        share: of the pool; a seed has the part of its number, modulo ``seeds``.
        settings: further fields of ``TrialSpec``.
    """
    by_chance = ("random", RANDOM_COVERED)
    return [
        TrialSpec(name, budget, seed, uniform=oracle, share=share, part=seed % seeds if share < 1 else 0, **settings)
        for name in strategies
        for oracle in uniform
        if not (oracle and name == RANDOM_COVERED)
        for budget in budgets
        for seed in range(random_seeds or seeds if name in by_chance else seeds)
    ]
