"""Does "the hardest look like the rest" hold in this pool? The premise of HaCon's order, measured without a label."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import norm, spearmanr

from pipeline.artifacts import Float32, Float64
from pipeline.select.by_features import mean_distances

SAMPLE = 5_000
"""Samples that it is measured on, at most: neighbours of all pairs are looked for."""
HOLDS_ABOVE = 0.3
"""The premise holds where the interval lies above this rank correlation (docs/method.md, section 7)."""
_LEAST = 6
"""Samples of a cluster that counts: its correlation weighs its size less three."""


@dataclass(frozen=True)
class Premise:
    """How far hardness agrees with density inside clusters: Spearman's rank correlation, with its 95% interval.

    Positive: the hard to contrast lie where images are dense, so they look like the rest, as the paper supposes.
    """

    correlation: float
    low: float
    high: float
    samples: int

    @property
    def holds(self) -> bool:
        """Whether the hardest may stand for their cluster."""
        return self.low > HOLDS_ABOVE

    @property
    def words(self) -> str:
        """The figure in a sentence."""
        means = "so the hardest look like the rest" if self.holds else "so the hardest need not look like the rest"
        return (
            f"hardness agrees with density by a rank correlation of {self.correlation:.2f} "
            f"({self.low:.2f} to {self.high:.2f}) inside clusters, {means}"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def premise(features: Float32, cluster: np.ndarray[Any, Any], confidence: Float64) -> Premise | None:
    """Measured on all rows given; None where no cluster has enough of them.

    Shapes: features (n, D); cluster, confidence (n,). Correlations of clusters are averaged on Fisher's scale, each by
    its samples less three. Source: docs/method.md, section 7.
    """
    known = np.isfinite(confidence)
    features, cluster, confidence = (
        features[known],
        np.unique(cluster[known], return_inverse=True)[1],
        confidence[known],
    )
    apart = mean_distances(features, cluster)
    total = weight = 0.0
    for number in range(int(cluster.max(initial=-1)) + 1):
        rows = np.flatnonzero(cluster == number)
        if len(rows) < _LEAST or np.ptp(confidence[rows]) == 0 or np.ptp(apart[rows]) == 0:
            continue
        # Little confidence is hard, little distance is dense: both turned round, the sign stays.
        found = float(spearmanr(confidence[rows], apart[rows]).statistic)
        total += (len(rows) - 3) * np.arctanh(np.clip(found, -0.999999, 0.999999))
        weight += len(rows) - 3
    if not weight:
        return None
    middle, half = total / weight, norm.ppf(0.975) / np.sqrt(weight)
    low, between, high = (round(float(np.tanh(each)), 4) for each in (middle - half, middle, middle + half))
    return Premise(between, low, high, len(features))
