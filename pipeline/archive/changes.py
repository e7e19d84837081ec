"""What is new in a folder: the listing and what was read, compared with what the archive knows. Pure.

A *file* is a row of ``FILES_SCHEMA``, known by its key. A *sample* is a content, known by its ``sample_id``, which
never means another content. A file holds at most one sample, and a sample is held by at most one file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.folder import files_of

HELD, COPY, REJECTED, GONE, FORMER = "held", "copy", "rejected", "gone", "former"
"""Of a file: it holds its sample; it has the content of another file; it cannot be read; it is not there any more. A
further row of a file is ``FORMER``: a sample that it held until it was written anew, and that no other file holds."""
FILES_SCHEMA = pa.schema(
    [
        ("key", pa.large_string()),
        ("size", pa.int64()),
        ("time", pa.int64()),
        ("sha256", pa.binary(32)),
        ("sample_id", pa.int64()),
        ("status", pa.string()),
    ]
)
"""``size`` in bytes and ``time`` in ns are the listing's; ``sample_id`` is null unless the file holds one, or held it
until it was gone."""
CHANGES_COLUMNS = ("key", "change", "of")
NEW, CHANGED, MOVED, BACK, TOUCHED = "new", "changed", "moved", "back", "touched"
"""What happened to a file besides ``COPY``, ``REJECTED`` and ``GONE``: another content under a known key; a known
content under another key; there again; written again with the same content."""
KINDS = (NEW, CHANGED, MOVED, BACK, TOUCHED, COPY, REJECTED, GONE)


@dataclass(frozen=True)
class Look:
    """A listing compared with the files that are known, before anything is read."""

    candidates: pa.Table
    """Rows of the listing (key, size, time) that have to be read: unknown, or of another size or time."""
    gone: pa.Table
    """Known files (``FILES_SCHEMA``) that the listing lacks and that were not gone before."""


@dataclass(frozen=True)
class Changes:
    """What a night changes."""

    files: pa.Table
    """Rows of ``FILES_SCHEMA`` that replace or follow those of the same key."""
    listed: list[tuple[str, str, str]] = field(default_factory=list)
    """(key, what happened, other key or nothing), as ``CHANGES_COLUMNS``."""

    @property
    def counts(self) -> dict[str, int]:
        """How often each of ``KINDS`` happened."""
        found = Counter(what for _, what, _ in self.listed)
        return {kind: found[kind] for kind in KINDS if found[kind]}


def first_files(catalogue: pa.Table) -> pa.Table:
    """``FILES_SCHEMA`` of a first pool's ``CATALOGUE_SCHEMA``."""
    status = pc.if_else(
        pc.is_valid(catalogue["reason"]), REJECTED, pc.if_else(pc.is_valid(catalogue["sample_id"]), HELD, COPY)
    )
    columns = [catalogue[name] if name != "status" else status for name in FILES_SCHEMA.names]
    return pa.table(columns, names=FILES_SCHEMA.names).cast(FILES_SCHEMA).sort_by("key")


def updated(files: pa.Table, changed: pa.Table) -> pa.Table:
    """``files`` with the rows of ``changed`` in place of those of the same key; sorted by key. Former ones stay."""
    other = pc.invert(pc.is_in(files["key"], value_set=changed["key"].combine_chunks()))
    kept = files.filter(pc.or_(other, pc.equal(files["status"], FORMER)))
    return pa.concat_tables([kept, changed]).sort_by("key").combine_chunks()


def look(files: pa.Table, listing: pa.Table) -> Look:
    """Compare by key, size and time.

    Args:
        files: what is known (``FILES_SCHEMA``).
        listing: key, size, time, each key once.
    """
    there = files.filter(~pc.field("status").isin([GONE, FORMER]))
    there = there.append_column("file", files_of(there["key"]))
    known = there.group_by("file").aggregate([("size", "max"), ("time", "max")])
    known = known.rename_columns(["key", "known_size", "known_time"])
    both = listing.join(known, "key", join_type="left outer").combine_chunks()
    same = pc.and_(pc.equal(both["size"], both["known_size"]), pc.equal(both["time"], both["known_time"]))
    candidates = both.filter(pc.invert(pc.fill_null(same, False))).select(["key", "size", "time"])
    gone = there.filter(pc.invert(pc.is_in(there["file"], value_set=listing["key"].combine_chunks())))
    gone = gone.drop_columns("file")
    return Look(candidates.sort_by("key").combine_chunks(), gone.sort_by("key").combine_chunks())


def changes(files: pa.Table, seen: Look, read: pa.Table, first_id: int) -> Changes:
    """What became of the candidates, and of the samples whose files are gone.

    Args:
        files: what is known (``FILES_SCHEMA``).
        read: ``CATALOGUE_SCHEMA`` of the candidates in the order of keys; its ``sample_id`` counts from 0 and is null
            where the content is known already or comes twice.
        first_id: of the first new sample.
    """
    return _Night(files, seen, read, first_id).changes()


class _Night:
    def __init__(self, files: pa.Table, seen: Look, read: pa.Table, first_id: int) -> None:
        self._read, self._first_id = read.to_pylist(), first_id
        self._gone = {row["key"]: row for row in seen.gone.to_pylist()}
        keys, contents = read["key"].combine_chunks(), read["sha256"].combine_chunks().drop_null()
        self._gone |= _by_key(_pages_lost(files, seen.candidates, keys))
        current = files.filter(pc.field("status") != FORMER)
        self._before = _by_key(current.filter(pc.is_in(current["key"], value_set=keys)))
        lost = pa.array([row["sha256"] for row in self._gone.values() if row["sha256"]], pa.binary(32))
        old = pa.array([row["sha256"] for row in self._before.values() if row["sha256"]], pa.binary(32))
        wanted = pa.concat_arrays([contents, lost, old])
        self._same = files.filter(pc.is_in(files["sha256"], value_set=wanted)).to_pylist()
        # Of each content that matters: its sample, and who holds it in the end.
        self._sample = {row["sha256"]: row["sample_id"] for row in self._same if row["sample_id"] is not None}
        read_keys = {row["key"] for row in self._read}
        self._holder = {
            row["sha256"]: row["key"]
            for row in self._same
            if row["status"] == HELD and row["key"] not in self._gone and row["key"] not in read_keys
        }
        self._rows: dict[str, dict[str, Any]] = {}
        self._listed: list[tuple[str, str, str]] = []

    def changes(self) -> Changes:
        for row in self._read:  # who holds its sample still, keeps it, whatever else has the same content
            before = self._before.get(row["key"])
            if before and before["status"] == HELD and before["sha256"] == row["sha256"]:
                self._holder[row["sha256"]] = row["key"]
        for row in self._read:
            self._settle(row)
        for row in self._gone.values():
            self._hand_on(row)
            # Not counted where its content is under another key now: that is counted there.
            counted = row["status"] != HELD or row["sha256"] not in self._holder
            self._put({**row, "status": GONE}, GONE if counted else "")
        former = []
        for key, before in self._before.items():
            if self._rows[key]["sha256"] != before["sha256"]:
                self._hand_on(before)
                if before["sample_id"] is not None and not self._remembered(before["sha256"]):
                    former.append({**before, "status": FORMER})
        rows = sorted([*self._rows.values(), *former], key=lambda row: row["key"])
        return Changes(pa.Table.from_pylist(rows, FILES_SCHEMA), self._listed)

    def _settle(self, row: dict[str, Any]) -> None:
        key, content = row["key"], row["sha256"]
        before, file = self._before.get(key), {name: row.get(name) for name in FILES_SCHEMA.names}
        if row["reason"] is not None:
            self._put({**file, "sample_id": None, "status": REJECTED}, REJECTED)
            return
        again = before is not None and before["sha256"] == content
        if content in self._holder:
            holds = self._holder[content] == key
            file |= {"sample_id": self._sample[content] if holds else None, "status": HELD if holds else COPY}
            unchanged = again and before is not None and before["status"] == file["status"]
            self._put(file, TOUCHED if unchanged else COPY, "" if unchanged else self._holder[content])
            return
        self._holder[content] = key
        if content in self._sample:
            what = MOVED if not again else BACK
            self._put({**file, "sample_id": self._sample[content], "status": HELD}, what, self._held_by(content, key))
            return
        assert row["sample_id"] is not None, "a content that nobody has is a new sample"
        self._sample[content] = self._first_id + row["sample_id"]
        file |= {"sample_id": self._sample[content], "status": HELD}
        self._put(file, CHANGED if before is not None and before["sha256"] is not None else NEW)

    def _hand_on(self, lost: dict[str, Any]) -> None:
        """A sample whose file is gone or has another content passes to a copy that is there."""
        content = lost["sha256"]
        if lost["status"] != HELD or content in self._holder:
            return
        for row in sorted(self._same, key=lambda row: row["key"]):
            now = self._rows.get(row["key"], row)
            if now["sha256"] == content and now["status"] == COPY:
                self._holder[content] = row["key"]
                self._put({**now, "sample_id": self._sample[content], "status": HELD}, MOVED, lost["key"])
                return

    def _remembered(self, content: bytes) -> bool:
        """Whether a row says in the end which sample a content is."""
        rows = (row for row in self._same if row["sha256"] == content and row["sample_id"] is not None)
        kept = any(row["status"] == FORMER or row["key"] not in self._rows for row in rows)
        return kept or any(row["sha256"] == content and row["sample_id"] is not None for row in self._rows.values())

    def _held_by(self, content: bytes, key: str) -> str:
        others = (row["key"] for row in self._same if row["sha256"] == content and row["sample_id"] is not None)
        return next((other for other in others if other != key), "")

    def _put(self, row: dict[str, Any], what: str, of: str = "") -> None:
        self._rows[row["key"]] = row
        if what:
            self._listed.append((row["key"], what, of))


def _pages_lost(files: pa.Table, candidates: pa.Table, keys: pa.Array) -> pa.Table:
    """What is known of the candidates' files and was not found when they were read: pages of one that has fewer now."""
    read_again = pc.is_in(files_of(files["key"]), value_set=candidates["key"].combine_chunks())
    missing = pc.invert(pc.is_in(files["key"], value_set=keys))
    there = pc.invert(pc.is_in(files["status"], value_set=pa.array([GONE, FORMER])))
    return files.filter(pc.and_(pc.and_(read_again, missing), there))


def _by_key(files: pa.Table) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in files.to_pylist()}


def samples_held(files: pa.Table) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The ids, ascending, of all samples that a file holds."""
    held = files.filter(pc.field("status") == HELD)["sample_id"]
    return np.sort(np.asarray(held, np.int64))


def key_of_samples(files: pa.Table, ids: Iterable[int]) -> list[str]:
    """The key of each sample: of the file that holds it, else of one that held it."""
    wanted = pa.array(ids, pa.int64())
    rows = files.filter(pc.is_in(files["sample_id"], value_set=wanted)).to_pylist()
    found = {row["sample_id"]: row["key"] for row in sorted(rows, key=lambda row: row["status"] == HELD)}
    return [found[each] for each in wanted.to_pylist()]


def still_there(files: pa.Table) -> int:
    """How many samples a file holds."""
    return int(pc.sum(pc.equal(files["status"], HELD)).as_py() or 0)


def sample_of_keys(files: pa.Table, keys: pa.ChunkedArray) -> dict[str, int]:
    """The sample that each key stands for: its own, or that of the file that it is a copy of. Without unknown keys."""
    named = files.filter(pc.is_in(files["key"], value_set=keys.combine_chunks().cast(pa.large_string())))
    named = named.filter(pc.field("status") != FORMER)
    contents = named["sha256"].combine_chunks().drop_null()
    same = files.filter(pc.and_(pc.is_in(files["sha256"], value_set=contents), pc.is_valid(files["sample_id"])))
    of_content = dict(zip(same["sha256"].to_pylist(), same["sample_id"].to_pylist(), strict=True))
    pairs = zip(named["key"].to_pylist(), named["sha256"].to_pylist(), strict=True)
    return {key: of_content[content] for key, content in pairs if content in of_content}
