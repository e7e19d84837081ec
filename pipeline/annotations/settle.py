"""One answer an image, of all annotators' answers, and how far they agree."""

from __future__ import annotations

import difflib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from pipeline.annotations.readers import Answer
from pipeline.data.labels import plain, unsafe

LABELLED, SKIPPED, CONTRADICTED = "labelled", "skipped", "contradicted"
"""Of an image: it has a label; nobody could label it; annotators differ and no label has more than half."""
_CLOSEST_AMONG = 20_000
"""Keys among which the closest is looked for: of more the search would take minutes."""


@dataclass(frozen=True)
class Outcome:
    """What an image is."""

    key: str
    status: str
    label: str | None
    annotators: int
    """How many answered."""
    agreement: float
    """Share of them who said this."""


@dataclass(frozen=True)
class Settled:
    """All images of the run that were answered, and what could not be used."""

    outcomes: list[Outcome]
    unknown: list[tuple[str, str]]
    """(key as written, the closest key of the run or nothing)."""
    contradictions: list[tuple[str, str]]
    """(key, who says what): images whose annotators differ, settled by majority or not."""
    empty: int
    """Answers without a label that do not say that there can be none."""
    agreement: float | None
    """Share of pairs of annotators of an image who agree; None: no image has two."""
    alpha: float | None
    """Krippendorff's alpha, nominal: 0 where they agree as by chance, 1 where always."""


class Matcher:
    """Finds the key that is meant by a key, a path, a file name, a stem, or an address that ends in one."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._exact = {_path(key): key for key in keys}
        self._short: dict[str, str | None] = {}
        for path, key in self._exact.items():
            name = path.rpartition("/")[2]
            for short in {name, name.rpartition(".")[0] or name} - {path}:
                self._short[short] = None if short in self._short else key  # of two images it means neither

    def __call__(self, written: str) -> str | None:
        """The key, or None."""
        for path in _readings(written):
            while path:
                if path in self._exact:
                    return self._exact[path]
                path = path.partition("/")[2]
        for path in _readings(written):
            if (found := self._short.get(path.rpartition("/")[2])) is not None:
                return found
        return None

    def closest(self, written: str) -> str:
        """The key that is written most alike, or nothing."""
        if len(self._exact) > _CLOSEST_AMONG:
            return ""
        return next(iter(difflib.get_close_matches(_path(written), self._exact, n=1)), "")


def settle(answers: Sequence[Answer], keys: Iterable[str]) -> Settled:
    """Of an annotator's several answers the latest counts, of several annotators the majority.

    Args:
        keys: of the run's images. Answers for others are listed.
    """
    match = Matcher(keys)
    by_key: dict[str, list[Answer]] = defaultdict(list)
    unknown: dict[str, None] = {}
    for answer in answers:
        key = match(answer.key)
        if key is None:
            unknown[answer.key] = None
        else:
            by_key[key].append(answer)
    outcomes, contradictions, said = [], [], []
    empty = 0
    for key, of_key in by_key.items():
        empty += sum(each.label is None and not each.skipped for each in of_key)
        last = _last_of_each(of_key)
        labels = [each.label for each in last if each.label is not None]
        said.append(labels)
        if len({*labels}) > 1:
            words = ", ".join(f"{each.annotator or 'somebody'}: {each.label}" for each in last if each.label)
            contradictions.append((key, words))
        outcomes += _outcome(key, last, labels)
    return Settled(
        outcomes=outcomes,
        unknown=[(written, match.closest(written)) for written in unknown],
        contradictions=contradictions,
        empty=empty,
        agreement=percent_agreement(said),
        alpha=krippendorff_alpha(said),
    )


def _last_of_each(answers: Sequence[Answer]) -> list[Answer]:
    """The latest answer of every annotator; without times, or at one time, those that differ all count."""
    kept: dict[str, list[Answer]] = defaultdict(list)
    for each in answers:
        if each.label is None and not each.skipped:
            continue
        mine = kept[each.annotator]
        if mine and each.time > mine[0].time:
            mine.clear()
        if not mine or (each.time == mine[0].time and each.label not in {other.label for other in mine}):
            mine.append(each)
    return [each for mine in kept.values() for each in mine]


def _outcome(key: str, last: list[Answer], labels: list[str]) -> list[Outcome]:
    if not last:
        return []
    if not labels:
        return [Outcome(key, SKIPPED, None, len(last), 1.0)]
    label, count = Counter(labels).most_common(1)[0]
    if 2 * count <= len(labels):
        return [Outcome(key, CONTRADICTED, None, len(last), count / len(labels))]
    return [Outcome(key, LABELLED, label, len(last), count / len(labels))]


def percent_agreement(said: Iterable[Sequence[str]]) -> float | None:
    """Of all pairs of answers to the same image the share that agree; None: there is no pair."""
    agree = pairs = 0
    for labels in said:
        n = len(labels)
        pairs += n * (n - 1)
        agree += sum(count * (count - 1) for count in Counter(labels).values())
    return agree / pairs if pairs else None


def krippendorff_alpha(said: Iterable[Sequence[str]]) -> float | None:
    """1 - observed / expected disagreement, nominal; None: no image has two answers.

    Source: Krippendorff, "Computing Krippendorff's alpha-reliability" (2011), section C.
    """
    values: Counter[str] = Counter()
    observed = 0.0
    for labels in said:
        n = len(labels)
        if n < 2:
            continue
        counts = Counter(labels)
        values.update(counts)
        observed += sum(count * (n - count) for count in counts.values()) / (n - 1)
    total = values.total()
    if not total:
        return None
    expected = sum(count * (total - count) for count in values.values()) / (total - 1)
    return 1.0 if expected == 0 else 1 - observed / expected


def _path(text: str) -> str:
    return plain(text).replace("\\", "/").removeprefix("./")


def _readings(written: str) -> list[str]:
    """What a tool may have made of a key: itself; of an address the path, or what stands behind ``?d=``; decoded."""
    found = [_path(written), _path(unsafe(written))]
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://|/data/|/", written):
        bare = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/]*/?", "", written)
        within = bare.partition("?d=")[2] or bare
        found += [_path(within), _path(unquote(within)), _path(unquote(within.partition("?")[0]))]
    return list(dict.fromkeys(each.lstrip("/") for each in found))


def counts_of(settled: Settled) -> Mapping[str, int]:
    """How many images of each status."""
    return Counter(each.status for each in settled.outcomes)
