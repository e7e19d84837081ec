"""One trial: a strategy chooses, a classifier learns from the choice, the test split judges.

A plain function, the same under a unit test and on Ray. The strategy sees a ``PoolView`` and nothing else;
labels of the query are read after it has chosen (but for oracles, which are flagged).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from pipeline.evaluate import classifiers
from pipeline.evaluate.choose import choose
from pipeline.evaluate.classifiers import Resources
from pipeline.evaluate.coverage import classes_covered, entropy_bits
from pipeline.evaluate.metrics import macro_auc_with_chance, quality
from pipeline.evaluate.parts import Parts
from pipeline.evaluate.samples import EvaluationData
from pipeline.evaluate.spec import TrialSpec


@dataclass(frozen=True)
class TrialResult:
    """What came out. ``auc``, ``accuracy`` and ``balanced_accuracy`` are in percent, ``entropy`` in bits."""

    spec: TrialSpec
    ids: tuple[int, ...]
    """The query's sample ids, in order."""
    covered: float
    """Share of the classes."""
    entropy: float
    auc: float | None
    """None where a class is missing from the query."""
    accuracy: float
    balanced_accuracy: float
    seconds: float
    oracle: bool
    """Whether the query was made with the pool's hidden labels."""
    saw_test: bool
    """Whether the strategy's scorer was trained on the test split's labels."""
    note: str
    """Of the classifier: where its weights come from, what was watched."""
    auc_with_chance: float | None = None
    """As ``auc``, but a class that is missing from the query counts 50%. None: a version without it made the row."""

    def to_row(self) -> dict[str, Any]:
        """Flat and JSON-ready: the trial's id, the spec's fields, and the figures."""
        figures = {name: getattr(self, name) for name in _FIGURES}
        return {"trial": self.spec.id, **asdict(self.spec), **figures, "ids": list(self.ids)}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> TrialResult:
        """The inverse of ``to_row``."""
        spec = TrialSpec(**{each.name: row[each.name] for each in fields(TrialSpec) if each.name in row})
        return cls(
            spec=spec,
            ids=tuple(row["ids"]),
            **{"auc_with_chance": None} | {name: row[name] for name in _FIGURES if name in row},
        )


_FIGURES = tuple(each.name for each in fields(TrialResult) if each.name not in ("spec", "ids"))


def run_trial(spec: TrialSpec, data: EvaluationData, parts: Parts, resources: Resources) -> TrialResult:
    """Choose, train, judge.

    Raises:
        InputError: what the strategy or the classifier needs is missing.
        ValueError: a budget that the pool cannot give.
    """
    began = time.perf_counter()
    classes = len(data.classes)
    ids = choose(spec, data, parts, resources)
    labels = data.train.labels[ids]
    # As a set: what a classifier learns must not depend on the order of the query.
    query = data.train.take(np.sort(ids))
    fitted = classifiers.fit(spec.classifier, query, data.val, classes, spec.seed, resources)
    predicted = fitted.predict(data.test)
    found = quality(data.test.labels, predicted, labels)
    return TrialResult(
        spec=spec,
        ids=tuple(ids.tolist()),
        covered=classes_covered(labels, classes),
        entropy=entropy_bits(labels),
        auc=found.auc,
        auc_with_chance=macro_auc_with_chance(data.test.labels, predicted, labels),
        accuracy=found.accuracy,
        balanced_accuracy=found.balanced_accuracy,
        seconds=time.perf_counter() - began,
        oracle=spec.is_oracle,
        saw_test=spec.saw_test_labels,
        note=fitted.note,
    )
