"""What a night changes: against a plain model of a folder whose files come, go, move and are written again."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest

from pipeline.archive.changes import (
    BACK,
    CHANGED,
    COPY,
    FILES_SCHEMA,
    FORMER,
    GONE,
    HELD,
    MOVED,
    NEW,
    REJECTED,
    TOUCHED,
    Changes,
    changes,
    first_files,
    key_of_samples,
    look,
    samples_held,
    still_there,
    updated,
)
from pipeline.artifacts import CATALOGUE_SCHEMA

BROKEN = "broken"


@dataclass
class Folder:
    """Key -> (content, time), and the archive that looks at it."""

    now: dict[str, tuple[str, int]] = field(default_factory=dict)
    files: pa.Table = field(default_factory=FILES_SCHEMA.empty_table)
    ids: dict[str, int] = field(default_factory=dict)
    """Content -> sample, for ever."""
    clock: int = 0
    read: int = 0

    def write(self, key: str, content: str) -> None:
        self.clock += 1
        self.now[key] = (content, self.clock)

    def listing(self) -> pa.Table:
        keys = sorted(self.now)
        sizes, times = [len(self.now[key][0]) for key in keys], [self.now[key][1] for key in keys]
        return pa.table([pa.array(keys, pa.large_string()), sizes, times], names=["key", "size", "time"])

    def first(self) -> None:
        """The run's own pool."""
        self.files = first_files(self._catalogue(self.listing(), known=set()))

    def night(self) -> Changes:
        seen = look(self.files, self.listing())
        self.read = seen.candidates.num_rows
        before = len(self.ids)
        found = changes(self.files, seen, self._catalogue(seen.candidates, set(self.ids)), before)
        self.files = updated(self.files, found.files)
        return found

    def _catalogue(self, candidates: pa.Table, known: set[str]) -> pa.Table:
        """As ``make_pool`` leaves it: of equal contents the first is a sample, unless it is known."""
        rows, first_id = [], len(self.ids)
        for row in candidates.to_pylist():
            content = self.now[row["key"]][0]
            broken, new = content.startswith(BROKEN), content not in known
            if new and not broken:
                known.add(content)
                self.ids[content] = len(self.ids)
            rows.append(
                {
                    **row,
                    "sha256": None if broken else hashlib.sha256(content.encode()).digest(),
                    "sample_id": self.ids[content] - first_id if new and not broken else None,
                    "reason": "broken" if broken else None,
                }
            )
        return pa.Table.from_pylist(rows, CATALOGUE_SCHEMA)

    def check(self) -> None:
        """The archive says what is there."""
        rows = [row for row in self.files.to_pylist() if row["status"] != FORMER]
        state = {row["key"]: row for row in rows}
        assert [row["key"] for row in rows] == sorted(state), "each key once, in order"
        known = {row["sample_id"]: row["sha256"] for row in self.files.to_pylist() if row["sample_id"] is not None}
        assert known == {i: hashlib.sha256(content.encode()).digest() for content, i in self.ids.items()}
        readable = {content for content, _ in self.now.values() if not content.startswith(BROKEN)}
        held = {row["sample_id"]: row["key"] for row in state.values() if row["status"] == HELD}
        assert set(held) == {self.ids[content] for content in readable} == set(samples_held(self.files).tolist())
        assert len(held) == still_there(self.files) == sum(row["status"] == HELD for row in state.values())
        for sample, key in held.items():
            assert self.ids[self.now[key][0]] == sample
        for key, row in state.items():
            assert (row["status"] == GONE) == (key not in self.now)
            assert key not in self.now or (row["status"] == REJECTED) == self.now[key][0].startswith(BROKEN)
            assert key not in self.now or (row["size"], row["time"]) == (len(self.now[key][0]), self.now[key][1])
        ids = sorted(held)
        assert key_of_samples(self.files, ids) == [held[each] for each in ids]


@pytest.mark.parametrize("seed", range(40))
def test_any_history_of_a_folder(seed: int) -> None:
    draw, folder = random.Random(seed), Folder()
    contents = [f"content {number}" for number in range(12)] + [f"{BROKEN} {number}" for number in range(2)]
    names = [f"{number:02d}.png" for number in range(15)]
    for key in names[:6]:
        folder.write(key, draw.choice(contents))
    folder.first()
    folder.check()
    for _ in range(12):
        for _ in range(draw.randrange(5)):
            what, key = draw.randrange(5), draw.choice(names)
            if what == 0:
                folder.write(key, draw.choice(contents))
            elif what == 1:
                folder.now.pop(key, None)
            elif what == 2 and key in folder.now:
                folder.write(key, folder.now[key][0])  # touched
            elif what == 3 and key in folder.now:
                folder.write(draw.choice(names), folder.now.pop(key)[0])  # moved
            elif key in folder.now:
                folder.write(draw.choice(names), folder.now[key][0])  # copied
        folder.night()
        folder.check()
        again = folder.night()
        assert folder.read == 0 and not again.counts and again.files.num_rows == 0, "nothing is read twice"


@pytest.fixture
def folder() -> Folder:
    made = Folder()
    for key, content in {"a.png": "A", "b.png": "B", "copy of b.png": "B", "bad.png": BROKEN}.items():
        made.write(key, content)
    made.first()
    return made


def test_every_kind_has_its_name(folder: Folder) -> None:
    folder.write("new.png", "N")
    folder.write("a.png", "other")  # changed
    folder.write("b.png", "B")  # touched
    folder.now["Copy of B.png"] = folder.now.pop("copy of b.png")  # renamed in case
    folder.write("bad 2.png", BROKEN)
    folder.now.pop("bad.png")
    found = folder.night()
    assert found.counts == {NEW: 1, CHANGED: 1, TOUCHED: 1, COPY: 1, REJECTED: 1, GONE: 2}
    assert ("Copy of B.png", COPY, "b.png") in found.listed
    folder.check()


def test_a_late_file_with_an_old_time_is_found(folder: Folder) -> None:
    folder.now["late.png"] = ("L", -(10**18))
    assert folder.night().listed == [("late.png", NEW, "")]


def test_a_moved_file_keeps_its_sample_and_nothing_is_gone(folder: Folder) -> None:
    folder.now["elsewhere/A.png"] = folder.now.pop("a.png")
    found = folder.night()
    assert found.counts == {MOVED: 1} and found.listed == [("elsewhere/A.png", MOVED, "a.png")]
    assert key_of_samples(folder.files, [folder.ids["A"]]) == ["elsewhere/A.png"]


def test_a_copy_holds_the_sample_when_its_file_goes(folder: Folder) -> None:
    folder.now.pop("b.png")
    assert folder.night().listed == [("copy of b.png", MOVED, "b.png")]
    folder.check()


def test_who_comes_back_is_the_same_sample(folder: Folder) -> None:
    kept = folder.now.pop("a.png")
    assert folder.night().counts == {GONE: 1}
    assert key_of_samples(folder.files, [folder.ids["A"]]) == ["a.png"], "its last key is known still"
    folder.now["a.png"] = kept
    assert folder.night().counts == {BACK: 1}
    folder.check()


def test_a_pool_without_sizes_and_times_is_read_once_more(folder: Folder) -> None:
    unknown = np.full(folder.files.num_rows, -1)
    folder.files = folder.files.set_column(1, "size", pa.array(unknown)).set_column(2, "time", pa.array(unknown))
    found = folder.night()
    assert folder.read == 4 and found.counts == {TOUCHED: 3, REJECTED: 1}
    folder.check()


def test_pages_of_a_file_come_and_go_with_it() -> None:
    rows = [("one.tif#page=1", "p1"), ("one.tif#page=2", "p2"), ("one.tif#page=3", "p3"), ("two.png", "2")]
    files = first_files(_pages(rows, first=0))
    same = look(files, _files({"one.tif": 7, "two.png": 7}))
    assert same.candidates.num_rows == same.gone.num_rows == 0
    shorter = look(files, _files({"one.tif": 8, "two.png": 7}))
    assert shorter.candidates["key"].to_pylist() == ["one.tif"] and shorter.gone.num_rows == 0
    read = _pages([("one.tif#page=1", "p1"), ("one.tif#page=2", "new")], first=8, known={"p1"})
    found = changes(files, shorter, read, 4)
    assert found.counts == {CHANGED: 1, TOUCHED: 1, GONE: 1}
    after = {row["key"]: row for row in updated(files, found.files).to_pylist() if row["status"] != FORMER}
    assert after["one.tif#page=2"]["sample_id"] == 4 and after["one.tif#page=3"]["status"] == GONE


def _files(times: dict[str, int]) -> pa.Table:
    return pa.table(
        [pa.array(list(times), pa.large_string()), [1] * len(times), list(times.values())],
        names=["key", "size", "time"],
    )


def _pages(rows: list[tuple[str, str]], first: int, known: set[str] | None = None) -> pa.Table:
    made, ids = [], 0
    for key, content in rows:
        new = content not in (known or set())
        made.append(
            {
                **{"key": key, "size": 1, "time": first or 7, "reason": None},
                **{"sha256": hashlib.sha256(content.encode()).digest(), "sample_id": ids if new else None},
            }
        )
        ids += new
    return pa.Table.from_pylist(made, CATALOGUE_SCHEMA)
