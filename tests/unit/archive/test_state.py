"""What is open, lost and known of an archive's samples, by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.archive.changes import FILES_SCHEMA
from pipeline.archive.state import ANSWERS_SCHEMA, ISSUED_SCHEMA, Archive, answered

FILES = pa.Table.from_pylist(
    [
        {"key": key, "size": 1, "time": 1, "sha256": bytes([n]) * 32, "sample_id": sample, "status": status}
        for key, n, sample, status in (
            ("a", 0, 0, "held"),
            ("b", 1, 1, "held"),
            ("b", 5, 5, "former"),
            ("c", 2, 2, "gone"),
            ("copy of a", 0, None, "copy"),
            ("d", 3, 3, "held"),
            ("e", 4, 4, "held"),
        )
    ],
    FILES_SCHEMA,
)


def _archive(issued: list[tuple[int, int | None]], answers: list[tuple[int, str]]) -> Archive:
    rows = [
        {"sample_id": sample, "query": 1, "rank": rank, "replaces": replaces}
        for rank, (sample, replaces) in enumerate(issued, 1)
    ]
    return Archive(
        files=FILES,
        issued=pa.Table.from_pylist(rows, ISSUED_SCHEMA),
        answers=pa.Table.from_pylist([{"sample_id": s, "status": what} for s, what in answers], ANSWERS_SCHEMA),
        night=np.ones(6, np.int32),
        cluster=np.zeros(6, np.int32),
        distance=np.zeros(6, np.float32),
        features=np.zeros((6, 2), np.float32),
    )


def test_what_is_open_and_what_is_lost() -> None:
    archive = _archive([(0, None), (3, None), (2, None), (5, None)], [(0, "labelled"), (3, "skipped")])
    assert archive.held.tolist() == [True, True, False, True, True, False]
    assert np.flatnonzero(archive.open).tolist() == []
    assert archive.lost.tolist() == [3, 2, 5], "skipped, gone, written anew: in the order of their issue"
    assert archive.totals == {"handed_out": 4, "labelled": 1, "skipped": 1, "open": 0, "lost": 2}


def test_what_was_replaced_is_not_lost_again() -> None:
    archive = _archive([(2, None), (3, None), (4, 2)], [(3, "skipped")])
    assert archive.lost.tolist() == [3] and np.flatnonzero(archive.open).tolist() == [4]


def test_a_label_for_what_is_gone_counts() -> None:
    assert _archive([(2, None)], [(2, "labelled")]).lost.tolist() == []


def test_answers_go_to_the_sample_that_a_key_stands_for() -> None:
    batch = pa.table(
        {"key": ["copy of a", "b", "c", "no such", "d"], "status": ["labelled", "labelled", "skipped", "labelled", "?"]}
    )
    before = pa.Table.from_pylist([{"sample_id": 2, "status": "labelled"}], ANSWERS_SCHEMA)
    answers, unknown = answered(before, FILES, batch)
    assert unknown == 1
    assert dict(zip(*(answers[name].to_pylist() for name in ("sample_id", "status")), strict=True)) == {
        **{0: "labelled", 1: "labelled"},
        2: "skipped",
    }
