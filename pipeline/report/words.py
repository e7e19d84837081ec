"""Numbers and sentences of the report, in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.select import find


@dataclass(frozen=True)
class Gauge:
    """A number of the query beside random's, on one scale.

    ``at`` is the query's place on it, ``low`` and ``high`` are random's mean less and plus its standard deviation;
    all from 0 to 1.
    """

    name: str
    value: str
    random: str
    verdict: str
    at: float
    low: float
    high: float


def count(number: int) -> str:
    """1234567 as "1,234,567"."""
    return f"{number:,}"


def number(value: float) -> str:
    """Three digits that matter, without exponent where it can be read without; "n/a" for not-a-number."""
    if not math.isfinite(value):
        return "n/a"
    if value == 0 or abs(value) >= 0.001:
        return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:.1e}"


def percent(share: float) -> str:
    """0.5 as "50%"; two digits that matter below 10%."""
    of_hundred = 100 * share
    if of_hundred >= 10 or of_hundred == 0:
        return f"{of_hundred:.0f}%"
    return f"{of_hundred:.1f}%" if of_hundred >= 1 else f"{of_hundred:.2g}%"


def duration(seconds: float) -> str:
    """Seconds as a person would say them: "0.4 s", "42 s", "3 min 5 s", "2 h 10 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


def value(item: Any) -> str:
    """A setting's value as it would be written in YAML on one line."""
    if item is None:
        return "none"
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, list | tuple):
        return ", ".join(value(part) for part in item)
    return str(item) if str(item) else "(empty)"


def settings_groups(settings: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """The nested configuration as (group, [(dotted key inside it, value)]); plain values first, as group "run"."""
    plain = [(key, item) for key, item in settings.items() if not isinstance(item, Mapping)]
    groups = [(key, _flat(item)) for key, item in settings.items() if isinstance(item, Mapping)]
    return ([("run", plain)] if plain else []) + groups


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, item in settings.items():
        rows += _flat(item, f"{prefix}{key}.") if isinstance(item, Mapping) else [(prefix + key, item)]
    return rows


def short_name(key: str) -> str:
    """The last part of a path, which tells images apart; the whole key where there is no such part."""
    return key.rstrip("/").rpartition("/")[2] or key


def headline(budget: int) -> str:
    """What to do."""
    return "Label this image first" if budget == 1 else f"Label these {count(budget)} images first"


def takes_turns(order: str) -> bool:
    """Whether the run's clusters take turns in this order."""
    found = find(order)
    return found is not None and found.by_turns


def words_of(order: str) -> tuple[str, str]:
    """What comes first in an order, as a clause, and why, as a sentence; its name where its strategy does not say."""
    found = find(order)
    return (found and found.words) or f"the order is '{order}'", (found and found.why) or f"The order is '{order}'."


def lede(budget: int, total: int, k: int, order: str) -> str:
    """What was chosen, in one or two sentences."""
    inside, _ = words_of(order)
    images = "1 image" if budget == 1 else f"{count(budget)} images"
    if k == 1 or not takes_turns(order):
        return f"{images} out of {count(total)}, chosen without a single label: {inside}."
    groups = f"{count(total)} images were sorted into {count(k)} clusters that stand in for the unknown classes"
    return (
        f"{images} out of {count(total)}, chosen without a single label. The {groups}; "
        f"the clusters take turns, and inside a cluster {inside}."
    )


_FEATURES = {
    "moco": "A network (MoCo v2) was trained, without labels, to recognise two altered views of one image among many "
    "others. Images that look alike end up close together.",
    "imagenet": "A network that was trained on everyday photographs (EfficientNet-Lite0, ImageNet) described every "
    "image by numbers. Images that look alike lie close together. Nothing was trained on this pool.",
    "timm": "A pretrained network described every image by numbers. Images that look alike lie close together. Nothing "
    "was trained on this pool.",
    "given": "The numbers that describe every image were given. Images with like numbers lie close together.",
}
"""Where features come from -> what was done."""


def why(order: str, temperature: float | None, k: int, budget: int, features: str = "moco") -> list[tuple[str, str]]:
    """The method in three steps, as (step, words).

    Args:
        temperature: of the confidence. None: the run has none.
        features: ``Embedded.source``.
    """
    _, reason = words_of(order)
    share = "at most one" if budget < k else f"about {budget / k:.1f}" if budget % k else count(budget // k)
    sorted_into = f"K-means sorted the images into {count(k)} clusters of look-alikes."
    if not takes_turns(order):
        kinds = f"{sorted_into} This order does not go by them; the bars below show which of them it reached."
    elif k > 1:
        kinds = f"{sorted_into} Taking {share} from each keeps rare kinds in and common kinds from taking over."
    else:
        kinds = "With more than one cluster each of them would get its share; this query was made with a single one."
    confidence = (
        ""
        if temperature is None
        else " (Confidence is how surely training told an image from the others, from 0 to 1, at softmax temperature "
        f"{temperature:g}.)"
    )
    return [
        ("See what the images look like", _FEATURES.get(features.partition(":")[0], _FEATURES["given"])),
        ("Cover all kinds", kinds),
        ("Prefer the right ones in each" if takes_turns(order) else "Prefer the right ones", f"{reason}{confidence}"),
    ]


def pool_remark(counts: Mapping[str, int]) -> str:
    """What did not make it into the pool."""
    left_out = [f"{count(counts[name])} {name}" for name in ("duplicates", "rejected") if counts.get(name)]
    return f"without {' and '.join(left_out)}" if left_out else "no label was used"


def read_dataset_map(epochs: int) -> str:
    """How to read the dataset map of a training of so many epochs; 0: it is not known how many."""
    read = (
        "Blue is the pool, darker where more images lie; orange is the query. Low on the map are images that training "
        "could hardly tell from the others (hard-to-contrast), high up those it told easily (easy-to-contrast). "
    )
    if epochs == 1:
        return f"{read}Images lie side by side only after more than one epoch: then their confidence can have changed."
    return f"{read}To the right, confidence kept changing from epoch to epoch (ambiguous)."


def read_embedding_map(method: str, shown: int, total: int, marked: int, budget: int, cluster_space: str) -> str:
    """How to read the 2-D map. ``cluster_space`` is the setting ``cluster.space``."""
    sample = "every image" if shown == total else f"{count(shown)} of {count(total)} images"
    missing = "" if marked == budget else f" ({count(marked)} of the {count(budget)} are on the map)"
    source = "the full features, not from this map" if cluster_space == "features" else f"the space '{cluster_space}'"
    return (
        f"One dot is one image ({sample}); look-alikes lie close together. Colours and numbers are the clusters, "
        f"orange is the query{missing}. A good query has dots in every region. Drawn by {method}; distances "
        f"between far regions mean little, and the clusters were made from {source}."
    )


def read_clusters(order: str) -> str:
    """How to read the bars."""
    read = "Above, the size of every cluster; below, in orange, how many of its images are in the query."
    if not takes_turns(order):
        return f"{read} This order does not go by clusters: a bar without orange is a kind of image that it left out."
    return (
        f"{read} Clusters take turns, so a small cluster, perhaps a rare class, gets its share, and no big one crowds "
        "out the rest."
    )


def read_training(training: Sequence[Mapping[str, float]]) -> str:
    """How to read the training curve."""
    last = training[-1]["loss"]
    seconds = math.fsum(epoch.get("seconds", 0.0) for epoch in training)
    accuracy = (
        f" At the end {percent(training[-1]['accuracy'])} of the views were matched to their own image."
        if all("accuracy" in epoch for epoch in training)
        else ""
    )
    if len(training) == 1:
        return f"The loss was {number(last)} after 1 epoch ({duration(seconds)}).{accuracy} One epoch makes no curve."
    second = "" if len(training) == 2 else f", from {number(training[1]['loss'])} in the second"
    read = (
        f"After {count(len(training))} epochs ({duration(seconds)}) the loss is {number(last)}{second}.{accuracy} "
        "The first epoch does not compare: its negatives are still noise, which is easy."
    )
    if len(training) == 2:
        return f"{read} More epochs would show whether the loss falls."
    return f"{read} Then the curve should fall and level off. One that still falls steeply asks for more epochs."


def coverage_gauge(covered: float, classes: int, mean: float, std: float) -> Gauge:
    """Share of the classes with at least one image in the query."""
    return Gauge(
        name="classes covered",
        value=f"{round(covered * classes)} of {classes}",
        random=f"{percent(covered)}; random: {percent(mean)} \u00b1 {100 * std:.0f}",
        verdict=_verdict(covered, mean, std),
        at=_inside(covered),
        low=_inside(mean - std),
        high=_inside(mean + std),
    )


def entropy_gauge(entropy: float, classes: int, mean: float, std: float) -> Gauge:
    """Entropy of the query's class distribution: 0 bits for one class, log2(C) for equal shares of all."""
    most = math.log2(classes) if classes > 1 else 1.0
    return Gauge(
        name="class entropy",
        value=f"{max(0.0, entropy):.2f} bits",
        random=f"at most {most:.2f}; random: {mean:.2f} \u00b1 {std:.2f}",
        verdict=_verdict(entropy, mean, std),
        at=_inside(entropy / most),
        low=_inside((mean - std) / most),
        high=_inside((mean + std) / most),
    )


def _verdict(got: float, mean: float, std: float) -> str:
    """Where the query stands; within random's own spread it is not called better or worse."""
    if got > mean + std:
        return "above random's spread"
    return "below random's spread" if got < mean - std else "within random's spread"


def _inside(share: float) -> float:
    return min(1.0, max(0.0, share))
