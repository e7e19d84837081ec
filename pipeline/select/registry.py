"""Every strategy by its name, with what it needs to know. A new one is a file and a line here."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from pipeline.artifacts import Int64
from pipeline.errors import InputError
from pipeline.select import (
    ambiguous,
    ambiguous_to_learn,
    bald,
    closest_to_centroid,
    consistency,
    coreset,
    easy_to_contrast,
    easy_to_learn,
    entropy,
    greedy_medoids,
    hard_medoids,
    hard_to_contrast,
    hard_to_learn,
    k_medoids,
    least_confidence,
    lowest_confidence,
    margin,
    maxherding,
    pixel_clusters,
    probcover,
    random_order,
    typiclust,
    vaal,
)
from pipeline.select.pool_view import PoolView


@dataclass(frozen=True)
class Strategy:
    """A way to choose samples of a pool. Call ``query`` or ``order``, which check what ``pick`` trusts in."""

    name: str
    pick: Callable[[PoolView, int, int], Int64]
    """(view with its rows in ``sample_id`` order, budget, seed) -> (budget,) sample ids, first = label first."""
    needs: tuple[str, ...] = ()
    """The columns of ``PoolView`` without which it cannot run."""
    nests: bool = True
    """Whether a larger budget continues a smaller one, labelled meanwhile or not, on the same columns and seed."""
    sees_labels: bool = False
    """Whether a column it needs was made with the pool's labels: for analysis only."""
    paper: str = ""
    """Where it comes from, in short."""

    @property
    def scorer(self) -> bool:
        """Whether it runs on a trained classifier's predictions."""
        return not {"probabilities", "probability_draws", "probability_views"}.isdisjoint(self.needs)

    @property
    def by_turns(self) -> bool:
        """Whether the clusters that it is given take turns; beside features they only say what is compared."""
        return not {"cluster", "pixel_cluster"}.isdisjoint(self.needs) and "features" not in self.needs

    def missing(self, view: PoolView) -> list[str]:
        """The columns that it needs and ``view`` lacks."""
        return [column for column in self.needs if getattr(view, column) is None]

    def query(self, view: PoolView, budget: int, seed: int) -> Int64:
        """(budget,) sample ids to label, first = label first; the order of the view's rows does not matter.

        Raises:
            ValueError: the view lacks a column that the strategy needs, or has not ``budget`` unlabelled samples.
            InputError: the pool, or its size, is not for this strategy.
        """
        if missing := self.missing(view):
            raise ValueError(f"{self.name} needs {' and '.join(missing)}, which this view lacks")
        free = view.sample_id[view.unlabelled_rows]
        if not 1 <= budget <= len(free):
            raise ValueError(f"a budget of {budget} from {len(free)} unlabelled samples")
        # What several threads add up depends on how many there are, and a query must not.
        with threadpool_limits(limits=1):
            ids = self.pick(view.by_sample_id(), budget, seed)
        assert ids.shape == (budget,), f"{self.name} missed the budget"
        assert (np.diff(np.sort(ids)) > 0).all(), f"{self.name} repeats samples"
        assert np.isin(ids, free).all(), f"{self.name} chose what is labelled or not there"
        return ids

    def order(self, view: PoolView, seed: int) -> Int64:
        """(M,) ids of all M unlabelled samples, first = label first; raises as ``query``."""
        return self.query(view, len(view.unlabelled_rows), seed)


HACON = "Chen et al., MIDL 2023"
MAP = "Swayamdipta et al., EMNLP 2020"
CONTRAST = ("cluster", "confidence")

STRATEGIES: dict[str, Strategy] = {
    each.name: each
    for each in (
        # The paper's own, and the other regions of its dataset map.
        Strategy("hard-to-contrast", hard_to_contrast.pick, CONTRAST, paper=HACON),
        Strategy("easy-to-contrast", easy_to_contrast.pick, CONTRAST, paper=HACON),
        Strategy("ambiguous", ambiguous.pick, ("cluster", "variability"), paper=HACON),
        # Its ablations (Fig. 3).
        Strategy("closest-to-centroid", closest_to_centroid.pick, ("cluster", "distance"), paper=HACON),
        Strategy("pixel-clusters", pixel_clusters.pick, ("pixel_cluster", "pixel_distance"), paper=HACON),
        Strategy("lowest-confidence", lowest_confidence.pick, ("confidence",), paper=HACON),
        # Its baselines.
        Strategy("random", random_order.pick, paper="chance"),
        Strategy("entropy", entropy.pick, ("probabilities",), paper="Wang & Shang, IJCNN 2014"),
        Strategy("margin", margin.pick, ("probabilities",), paper="Balcan et al., COLT 2007"),
        Strategy("least-confidence", least_confidence.pick, ("probabilities",), paper="Lewis & Gale, SIGIR 1994"),
        Strategy("consistency", consistency.pick, ("probability_views",), paper="Gao et al., ECCV 2020"),
        Strategy("bald", bald.pick, ("probability_draws",), paper="Houlsby et al. 2011; Gal et al., ICML 2017"),
        Strategy("vaal", vaal.pick, ("labelled_score",), paper="Sinha et al., ICCV 2019"),
        Strategy("coreset", coreset.pick, ("features",), paper="Sener & Savarese, ICLR 2018"),
        # The map that ground truth draws.
        Strategy("easy-to-learn", easy_to_learn.pick, ("learnability",), sees_labels=True, paper=MAP),
        Strategy("hard-to-learn", hard_to_learn.pick, ("learnability",), sees_labels=True, paper=MAP),
        Strategy(
            "ambiguous-to-learn", ambiguous_to_learn.pick, ("learnability_variability",), sees_labels=True, paper=MAP
        ),
        # What the field uses at low budgets.
        Strategy("k-medoids", k_medoids.pick, ("features",), nests=False, paper="K-means, K = budget"),
        Strategy("greedy-medoids", greedy_medoids.pick, ("features",), paper="PAM's BUILD, Kaufman & Rousseeuw 1990"),
        Strategy("hard-medoids", hard_medoids.pick, ("features", *CONTRAST), paper="PAM's BUILD, weighted by HaCon's"),
        Strategy("typiclust", typiclust.pick, ("features",), nests=False, paper="Hacohen et al., ICML 2022"),
        Strategy("probcover", probcover.pick, ("features",), paper="Yehuda et al., NeurIPS 2022"),
        Strategy("maxherding", maxherding.pick, ("features",), paper="Bae et al., ECCV 2024"),
    )
}


def strategy(name: str) -> Strategy:
    """The strategy called ``name``.

    Raises:
        InputError: there is none of that name; names the closest.
    """
    if name not in STRATEGIES:
        close = difflib.get_close_matches(name, STRATEGIES, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"choose one of {', '.join(STRATEGIES)}."
        raise InputError(f"There is no order '{name}'; {hint}")
    return STRATEGIES[name]
