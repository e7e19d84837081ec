"""Which stages a run has: what its settings make unnecessary is not run."""

from __future__ import annotations

from pipeline.config import RunConfig
from pipeline.publish import required
from pipeline.results import STAGES, Compared, Embedded, Published, Trained
from pipeline.run import Run
from pipeline.select import Strategy, strategy

AUTO = "auto"
"""As ``query.order``: the order that was measured best for what the run has."""
BEST = "greedy-medoids"
"""The order on features that was measured best (docs/results.md)."""
PREMISED = "hard-to-contrast"
"""The paper's order, which ``auto`` takes where its premise holds (``select.premise``)."""


def order_of(config: RunConfig) -> Strategy:
    """The strategy of a run; for ``auto`` the one that is taken unless the premise of the paper's is seen to hold.

    Raises:
        InputError: there is none of that name.
    """
    return strategy(BEST if config.query.order == AUTO else config.query.order)


def trains(config: RunConfig) -> bool:
    """Whether MoCo is trained: for its features, or for an order that asks for confidence."""
    asked = {"confidence", "variability"} & {*order_of(config).needs}
    return config.embed.features == "moco" or bool(asked)


def stages_of(config: RunConfig) -> tuple[type[Published], ...]:
    """The stages of a run, in order."""
    without: list[type[Published]] = [] if trains(config) else [Trained]
    if config.embed.space == "features":
        without.append(Compared)
    return tuple(kind for kind in STAGES if kind not in without)


def trained_of(run: Run) -> Trained | None:
    """The finished training; None where the run has none.

    Raises:
        InputError: it is not finished.
    """
    return required(run, Trained) if trains(run.config) else None


def compared_of(run: Run) -> Embedded:
    """The finished features, in the space in which they are compared; raises as ``trained_of``."""
    return required(run, Embedded if run.config.embed.space == "features" else Compared)
