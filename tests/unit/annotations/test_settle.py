"""One answer of several, which image is meant, and how far annotators agree: by hand and by Krippendorff's example."""

from __future__ import annotations

import pytest

from pipeline.annotations.readers import Answer
from pipeline.annotations.settle import Matcher, Outcome, krippendorff_alpha, percent_agreement, settle

KEYS = ["a.png", "deep/b.png", "deep/001.png", "other/001.png", "plus+sign 100%.png"]


def _outcomes(*answers: Answer) -> dict[str, Outcome]:
    return {each.key: each for each in settle(answers, KEYS).outcomes}


def test_the_majority_counts_and_a_tie_is_a_contradiction() -> None:
    answers = [Answer("a.png", label, str(by)) for by, label in enumerate(("cat", "cat", "dog"))]
    answers += [Answer("deep/b.png", label, str(by)) for by, label in enumerate(("cat", "dog"))]
    found = settle(answers, KEYS)
    assert found.outcomes == [
        Outcome("a.png", "labelled", "cat", 3, pytest.approx(2 / 3)),
        Outcome("deep/b.png", "contradicted", None, 2, 0.5),
    ]
    assert found.contradictions == [("a.png", "0: cat, 1: cat, 2: dog"), ("deep/b.png", "0: cat, 1: dog")]
    assert found.agreement == pytest.approx(2 / 8)


def test_an_annotators_later_answer_counts() -> None:
    once = _outcomes(Answer("a.png", "dog", "x", "2026-02"), Answer("a.png", "cat", "x", "2026-01"))
    assert once["a.png"] == Outcome("a.png", "labelled", "dog", 1, 1.0)
    at_once = settle([Answer("a.png", "dog", "x"), Answer("a.png", "cat", "x")], KEYS)
    assert at_once.outcomes[0].status == "contradicted" and at_once.contradictions == [("a.png", "x: dog, x: cat")]


def test_skipped_unless_somebody_has_a_label() -> None:
    found = _outcomes(
        Answer("a.png", None, "x", skipped=True),
        Answer("deep/b.png", None, "x", skipped=True),
        Answer("deep/b.png", "cat", "y"),
        Answer("deep/001.png", None, "y"),
    )
    assert found["a.png"].status == "skipped" and found["deep/b.png"].label == "cat"
    assert "deep/001.png" not in found, "an answer without a label is none"


def test_unknown_keys_are_listed_with_the_closest() -> None:
    found = settle([Answer("a.pgn", "cat"), Answer("a.pgn", "cat"), Answer("a.png", "cat"), Answer("xyz", "cat")], KEYS)
    assert found.unknown == [("a.pgn", "a.png"), ("xyz", "")] and len(found.outcomes) == 1


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("a.png", "a.png"),
        ("./deep/b.png", "deep/b.png"),
        ("deep\\b.png", "deep/b.png"),
        ("b.png", "deep/b.png"),
        ("b", "deep/b.png"),
        ("001.png", None),
        ("001", None),
        ("other/001.png", "other/001.png"),
        ("s3://bucket/scans/other/001.png", "other/001.png"),
        ("/mnt/archive/deep/001.png", "deep/001.png"),
        ("https://host/x/plus%2Bsign%20100%25.png", "plus+sign 100%.png"),
        ("/data/local-files/?d=scans/plus%2Bsign%20100%25.png", "plus+sign 100%.png"),
        ("https://host/deep/b.png?X-Amz-Signature=1", "deep/b.png"),
        ("nothing.png", None),
    ],
)
def test_what_a_tool_made_of_a_key(written: str, key: str | None) -> None:
    assert Matcher(KEYS)(written) == key


def test_krippendorffs_own_example() -> None:
    # "Computing Krippendorff's alpha-reliability" (2011), section C: four observers, twelve units, alpha = .743.
    rows = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    said = [[str(row[unit]) for row in rows if row[unit] is not None] for unit in range(12)]
    assert krippendorff_alpha(said) == pytest.approx(0.743, abs=5e-4)


def test_agreement_at_its_ends() -> None:
    assert percent_agreement([["x"], []]) is None and krippendorff_alpha([["x"]]) is None
    assert percent_agreement([["x", "x"]]) == krippendorff_alpha([["x", "x"], ["x", "x"]]) == 1
    assert krippendorff_alpha([["x", "y"], ["y", "x"]]) == pytest.approx(1 - 4 / (8 / 3))
