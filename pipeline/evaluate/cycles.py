"""Active-learning cycles: an initial query, then a few more images at a time by another strategy (Figs. 6, 14 to 16).

The paper's question: does the first choice decide how good the last model is? Its code is not released (docs/method.md,
decision 19). Ours: at every size the classifier is trained anew on all that is labelled and judged on the test split.
It is also the later strategy's scorer; ``probe``, which has no dropout, leaves that to a small dropout network on the
same samples. Coreset measures on the frozen features. Networks are trained with dropout before their head whatever the
later strategy, so that curves differ by what was chosen alone.

**AUC where a class is missing**: that class counts 50%, as guessed (``metrics.macro_auc_with_chance``). With 20 of a
long-tailed pool that is the rule, and a curve and a correlation need a number everywhere.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from pipeline.artifacts import Int64, fingerprint
from pipeline.errors import InputError
from pipeline.evaluate import classifiers
from pipeline.evaluate.choose import choose, honest_scores
from pipeline.evaluate.classifiers import Fitted, Resources
from pipeline.evaluate.coverage import classes_covered, entropy_bits
from pipeline.evaluate.metrics import accuracy, balanced_accuracy, macro_auc_with_chance
from pipeline.evaluate.parts import Parts, view_of
from pipeline.evaluate.samples import EvaluationData
from pipeline.evaluate.scorer import DROPOUT
from pipeline.evaluate.spec import TrialSpec
from pipeline.evaluate.statistics import Correlation, pearson
from pipeline.evaluate.vaal import labelled_score
from pipeline.select import strategy

LATER = ("random", "entropy", "margin", "bald", "coreset")
"""The paper's five."""


@dataclass(frozen=True)
class CycleSpec:
    """One run of cycles; the sizes are the paper's."""

    initial: str
    """Chooses the first ``start``; as ``TrialSpec.strategy``."""
    later: str
    """Chooses ``step`` more each time: a strategy's name."""
    seed: int
    """The number of the trial."""
    classifier: str = "probe"
    start: int = 20
    step: int = 10
    end: int = 50
    k: int | None = None
    """Clusters of the initial strategy; none: ``start``, 30 at most."""
    temperature: float = 0.05
    scorer: Literal["test", "labelled"] = "test"
    """Of the first query alone, as ``TrialSpec.scorer``; later ones are trained on what is labelled."""

    @property
    def first(self) -> TrialSpec:
        """The first query, as a trial asks for it."""
        return TrialSpec(
            self.initial,
            self.start,
            self.seed,
            classifier=self.classifier,
            k=self.k,
            temperature=self.temperature,
            scorer=self.scorer,
        )

    @property
    def id(self) -> str:
        """A name for files and logs: readable, and different for any two different runs."""
        settings = asdict(self)
        if self.scorer == "test":  # curves from before there was a choice keep their names
            del settings["scorer"]
        digest = fingerprint(json.dumps(settings, sort_keys=True))[:10]
        return f"{self.initial}-then-{self.later}-{self.seed}-{self.classifier}-{digest}".replace(":", ".")

    @property
    def sizes(self) -> list[int]:
        """How many are labelled at each point of the curve."""
        return list(range(self.start, self.end + 1, self.step))


@dataclass(frozen=True)
class CyclePoint:
    """One point of a curve. ``auc``, ``accuracy``, ``balanced_accuracy`` in percent; ``covered``: share of classes."""

    labelled: int
    auc: float
    """A missing class counts 50."""
    accuracy: float
    balanced_accuracy: float
    covered: float
    entropy: float


@dataclass(frozen=True)
class CycleResult:
    """A whole curve."""

    spec: CycleSpec
    points: tuple[CyclePoint, ...]
    ids: tuple[int, ...]
    """Everything labelled, in order."""
    seconds: float
    oracle: bool
    """Whether the pool's hidden labels were used, by the initial strategy or by the later one."""
    saw_test: bool
    """Whether the initial strategy's scorer was trained on the test split; the later one's never is."""
    note: str

    def to_row(self) -> dict[str, Any]:
        """JSON-ready."""
        figures = {name: getattr(self, name) for name in _FIGURES}
        points = [asdict(point) for point in self.points]
        return {"run": self.spec.id, **asdict(self.spec), **figures, "points": points, "ids": list(self.ids)}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> CycleResult:
        """The inverse of ``to_row``."""
        spec = CycleSpec(**{each.name: row[each.name] for each in fields(CycleSpec) if each.name in row})
        points = tuple(CyclePoint(**point) for point in row["points"])
        return cls(spec=spec, points=points, ids=tuple(row["ids"]), **{name: row[name] for name in _FIGURES})


_FIGURES = ("seconds", "oracle", "saw_test", "note")


def run_cycles(spec: CycleSpec, data: EvaluationData, parts: Parts, resources: Resources) -> CycleResult:
    """One curve: choose ``start``, then train, judge and choose ``step`` more until ``end`` are labelled.

    Raises:
        InputError: sizes that make no curve, or what a strategy or the classifier needs is missing.
    """
    _check(spec, data)
    began = time.perf_counter()
    labelled = choose(spec.first, data, parts, resources)
    points = []
    for size in spec.sizes:
        query = data.train.take(np.sort(labelled))
        fitted = classifiers.fit(
            spec.classifier, query, data.val, len(data.classes), spec.seed, resources, dropout=DROPOUT
        )
        points.append(_point(labelled, fitted, data))
        if size < spec.sizes[-1]:
            labelled = np.r_[labelled, _more(spec, labelled, fitted, data, parts, resources)]
    return CycleResult(
        spec=spec,
        points=tuple(points),
        ids=tuple(labelled.tolist()),
        seconds=time.perf_counter() - began,
        oracle=spec.first.is_oracle or strategy(spec.later).sees_labels,
        saw_test=spec.first.saw_test_labels,
        note=fitted.note,
    )


def by_kind(results: Sequence[CycleResult]) -> dict[CycleSpec, list[CycleResult]]:
    """Curves that differ in their first strategy and seed alone: others are not to be put together.

    By what they share, with no first strategy and seed 0; the paper's later strategies first.
    """
    groups: dict[CycleSpec, list[CycleResult]] = {}
    for result in results:
        groups.setdefault(replace(result.spec, initial="", seed=0), []).append(result)
    places = {name: place for place, name in enumerate(LATER)}
    return dict(sorted(groups.items(), key=lambda item: (places.get(item[0].later, len(places)), item[0].id)))


def first_against_last(curves: Sequence[CycleResult]) -> Correlation | None:
    """Pearson's r and p between the first and the last AUC; None: too few points.

    Curves with the same first query are one point, with the mean of their last AUC. Otherwise a strategy that does not
    depend on the seed would stand for several first choices.

    Args:
        curves: of one kind (``by_kind``).
    """
    last: dict[tuple[frozenset[int], float], list[float]] = {}
    for curve in curves:
        first = frozenset(curve.ids[: curve.spec.start])
        last.setdefault((first, curve.points[0].auc), []).append(curve.points[-1].auc)
    return pearson([auc for _, auc in last], [float(np.mean(aucs)) for aucs in last.values()])


def _more(
    spec: CycleSpec, labelled: Int64, fitted: Fitted, data: EvaluationData, parts: Parts, resources: Resources
) -> Int64:
    """(step,) further ids."""
    chosen_by = strategy(spec.later)
    # A later strategy that needs clusters has as many as images are to be labelled then.
    size = len(labelled) + spec.step
    asked = TrialSpec(
        spec.later, size, spec.seed, classifier=spec.classifier, temperature=spec.temperature, scorer="labelled"
    )
    scores = None
    if chosen_by.scorer:
        scores = honest_scores(asked, data.train.take(np.sort(labelled)), data, parts, resources, fitted)
    if "labelled_score" in chosen_by.needs:
        mask = np.isin(data.train.ids, labelled)
        score = labelled_score(data.train.images(), mask, spec.seed, device=resources.device)
        parts = replace(parts, labelled_score={spec.seed: score})
    # Another seed each time, or a random strategy would draw alike from what is left.
    (seed,) = np.random.SeedSequence((spec.seed, len(labelled))).generate_state(1).tolist()
    return chosen_by.query(view_of(asked, data, parts, scores, labelled), spec.step, seed)


def _point(labelled: Int64, fitted: Fitted, data: EvaluationData) -> CyclePoint:
    labels = data.train.labels[labelled]
    probabilities = fitted.predict(data.test)
    return CyclePoint(
        labelled=len(labelled),
        auc=macro_auc_with_chance(data.test.labels, probabilities, labels),
        accuracy=accuracy(data.test.labels, probabilities),
        balanced_accuracy=balanced_accuracy(data.test.labels, probabilities),
        covered=classes_covered(labels, len(data.classes)),
        entropy=entropy_bits(labels),
    )


def _check(spec: CycleSpec, data: EvaluationData) -> None:
    classifiers.check_classifier(spec.classifier)
    strategy(spec.later)
    if not 1 <= spec.start <= spec.end <= len(data.train) or spec.step < 1:
        raise InputError(
            f"Cycles from {spec.start} to {spec.end} by {spec.step} of a pool of {len(data.train)} images cannot be; "
            "give 1 <= start <= end <= images, and a step of 1 or more."
        )
