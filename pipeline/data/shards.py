"""WebDataset shards: tar files whose members with one basename are one sample.

The headers are read first: where each image lies, and its label. Then any worker reads any range of images, in a
stream from where the first lies. A shard is never held. A shard that was cut, or is damaged, gives what lies before;
what lies after is said in ``rejected.csv``.

``a/0001.jpg``, ``a/0001.cls`` and ``a/0001.json`` are the sample ``a/0001``: the name up to the first dot of its last
part. Source: WebDataset's ``base_plus_ext``.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts import Int64
from pipeline.data.decode import SUFFIXES, UnreadableImageError
from pipeline.data.labels import Cleaner, number_labels, unlabelled_note
from pipeline.data.packed import Content, PackedSource, Packs, first_codes, replaced, settled_keys
from pipeline.errors import InputError
from pipeline.progress import counted
from pipeline.storage import Location

_BUFFER = 1 << 20
"""Bytes that are read at a time."""
_READERS = 8
_BLOCK = 512
_LARGEST_PIXEL = 8
"""Bytes of the widest pixel (RGBA, 16 bits a channel)."""
_MOST_LABEL_BYTES = {"cls": 1 << 10, "json": 1 << 20}
_CUT = "the shard ends within it"


@dataclass
class _Member:
    extension: str
    offset: int
    size: int
    whole: bool


@dataclass
class _Shard:
    """What one shard's headers say. Lists have one entry a sample."""

    key: list[str] = field(default_factory=list)
    offset: list[int] = field(default_factory=list)
    size: list[int] = field(default_factory=list)
    label: list[str | None] = field(default_factory=list)
    reasons: dict[int, str] = field(default_factory=dict)
    """Place -> why it is set aside."""
    nameless: int = 0
    """Files that are of no sample: hidden, or without an extension."""
    is_ended: bool = True
    """Whether it has the zeros that end a tar."""

    def add(self, key: str, image: _Member | str, label: str | None) -> None:
        """One more sample; ``image``: its member, or why there is none."""
        if isinstance(image, str):
            self.reasons[len(self.key)] = image
        self.key.append(key)
        self.offset.append(-1 if isinstance(image, str) else image.offset)
        self.size.append(0 if isinstance(image, str) else image.size)
        self.label.append(label)


@dataclass(frozen=True, kw_only=True)
class ShardSource(PackedSource):
    """Samples of tar shards. The key is WebDataset's; with the shard's name in front where several have it."""

    names: tuple[str, ...]
    """Of the shards."""
    starts: Int64
    """(shards,) first position of each."""
    offset: Int64
    """(N,) of the image in its shard; -1: it is set aside."""
    length: Int64
    """(N,) bytes of the image."""

    def units(self) -> list[tuple[int, int]]:
        """Shards."""
        ends = [*self.starts[1:].tolist(), len(self.key)]
        spans = zip(self.starts.tolist(), ends, strict=True)
        return [(start, end - start) for start, end in spans if end > start]

    def contents(self, start: int, stop: int) -> Iterator[Content]:
        """The images' bytes, shard after shard."""
        shards = np.searchsorted(self.starts, np.arange(start, stop), side="right") - 1
        for shard, run in groupby(zip(shards.tolist(), range(start, stop), strict=True), lambda each: each[0]):
            yield from self._of_shard(self.names[shard], [position for _, position in run])

    def _of_shard(self, name: str, positions: list[int]) -> Iterator[Content]:
        done = 0
        try:
            with _opened(self.location, name) as shard:
                for position in positions:
                    yield self._content(shard, position)
                    done += 1
        except OSError as error:
            reason = self.location.refusal(name, error)
            if reason is None:
                raise
            for _ in positions[done:]:
                yield UnreadableImageError(reason)

    def _content(self, shard: IO[bytes], position: int) -> Content:
        offset, size = int(self.offset[position]), int(self.length[position])
        if offset < 0:
            return UnreadableImageError(self.set_aside.get(position, ""))
        if size > self.max_pixels * _LARGEST_PIXEL:
            return UnreadableImageError(
                f"{size} bytes are more than any image of ingest.max_pixels = {self.max_pixels}"
            )
        shard.seek(offset)
        data = shard.read(size)
        return data if len(data) == size else UnreadableImageError(_CUT)


def open_shards(
    packs: Packs,
    image: str | None,
    label: str | None,
    clean: Cleaner,
    *,
    size: int,
    channels: int | None,
    max_pixels: int,
    state: str,
) -> ShardSource:
    """Read the headers of all shards.

    Args:
        image: extension of the members that are the images; None: any image's, one a sample.
        label: key of the .json members that holds the label; None: the .cls members, else "label" of the .json.
        state: what besides the files decides the pool, in words.

    Raises:
        InputError: there is no sample.
    """
    with ThreadPoolExecutor(_READERS) as readers:
        found = list(readers.map(partial(_index, packs.location, image=image, label=label), packs.names))
    counts = np.array([len(shard.key) for shard in found], np.int64)
    starts = np.cumsum(counts) - counts
    total = int(counts.sum())
    if total == 0:
        raise InputError(f"There is no sample in '{packs.location.show(packs.names[0])}'; check the path.")
    written = pa.chunked_array([pa.array(shard.key, pa.large_string()) for shard in found], pa.large_string())
    named = _told_apart(written, np.repeat(np.arange(len(found)), counts), packs.names)

    def place(position: int) -> str:
        at = int(np.searchsorted(starts, position, side="right")) - 1
        return f"{packs.names[at]}#sample={position - int(starts[at])}"

    keys, reasons = settled_keys(named, place)
    for start, shard in zip(starts.tolist(), found, strict=True):
        reasons |= {start + at: reason for at, reason in shard.reasons.items()}
    numbers, classes, notes = _labels([clean(name) for shard in found for name in shard.label], clean)
    return ShardSource(
        location=packs.location,
        key=keys,
        set_aside=reasons,
        state=f"{packs.state}{state}",
        size=size,
        channels=channels,
        max_pixels=max_pixels,
        label_numbers=numbers,
        classes=classes,
        notes=(*_notes(found), *notes),
        names=packs.names,
        starts=starts,
        offset=np.array([each for shard in found for each in shard.offset], np.int64),
        length=np.array([each for shard in found for each in shard.size], np.int64),
    )


def _notes(shards: list[_Shard]) -> Iterator[str]:
    if nameless := sum(shard.nameless for shard in shards):
        yield f"members of shards that are of no sample, hidden or without an extension: {nameless}"
    if open_ended := sum(not shard.is_ended for shard in shards):
        yield f"shards without the mark that ends a tar, perhaps cut after a member: {open_ended}"


def _labels(
    names: list[str | None], clean: Cleaner
) -> tuple[NDArray[np.int32] | None, tuple[str, ...] | None, tuple[str, ...]]:
    numbers, classes = number_labels(names)
    if not classes:
        return None, None, ()
    missing = int((numbers < 0).sum())
    return numbers, classes, (unlabelled_note(missing, len(names), clean),) if missing else ()


def _told_apart(keys: pa.ChunkedArray, shard: Int64, names: tuple[str, ...]) -> pa.ChunkedArray:
    """Keys that several shards have, with the shard's name in front."""
    codes = first_codes(keys)
    pairs = np.unique(codes * len(names) + shard)
    shards_with = np.bincount(pairs // len(names), minlength=1)
    several = np.flatnonzero(shards_with[codes] > 1)
    texts = keys.take(pa.array(several)).to_pylist()
    return replaced(keys, {at: f"{names[shard[at]]}/{text}" for at, text in zip(several.tolist(), texts, strict=True)})


# ---- headers -----------------------------------------------------------------------------


def _opened(location: Location, name: str) -> IO[bytes]:
    """Buffered: headers lie close together, and on S3 every read is a request."""
    return cast("IO[bytes]", io.BufferedReader(cast("Any", location.open(name)), _BUFFER))


def _index(location: Location, name: str, image: str | None, label: str | None) -> _Shard:
    shard = _Shard()
    with _opened(location, name) as handle:
        length = handle.seek(0, io.SEEK_END)
        handle.seek(0)
        damage: list[str] = []
        members = _members(handle, length, shard, damage)
        for key, several in groupby(members, lambda each: each[0]):
            of_sample = [member for _, member in several]
            shard.add(key, _image_of(of_sample, image), _label_of(handle, of_sample, label))
    for reason in damage:
        shard.add(name, reason, None)
    return shard


def _members(handle: IO[bytes], length: int, shard: _Shard, damage: list[str]) -> Iterator[tuple[str, _Member]]:
    """(sample's key, member) of every file; ``damage``: why the shard is not read to its end."""
    at = 0
    try:
        with tarfile.open(fileobj=handle, mode="r:") as tar:
            while (info := tar.next()) is not None:
                cast("Any", tar).members.clear()  # it would keep all
                if tar.offset <= at:  # a damaged size: it would go round in a circle
                    break
                at = tar.offset
                if not info.isreg() or info.issparse():
                    continue
                key, extension = _parts(info.name)
                if not extension:
                    shard.nameless += 1
                    continue
                whole = info.offset_data + info.size <= length
                yield key, _Member(extension, info.offset_data, info.size, whole)
            # ``next`` takes a damaged header for the end.
            handle.seek(at)
            block = handle.read(_BLOCK)
            shard.is_ended = len(block) == _BLOCK
            if block.strip(b"\0"):
                damage.append(f"the shard is damaged after {counted(at, 'byte')}; what follows is not read")
    except tarfile.TarError as error:
        if at:
            damage.append(
                f"the shard ends, or is damaged, after {counted(min(at, length), 'byte')}; what follows is lost"
            )
        else:
            damage.append(f"is no tar file, or a damaged one ({error})")


def _parts(name: str) -> tuple[str, str]:
    """(key, extension in lower case) of a member; no extension: it is of no sample."""
    plain = name.encode("utf-8", "backslashreplace").decode().removeprefix("./")
    folder, slash, file = plain.rpartition("/")
    stem, _, extension = file.partition(".")
    return f"{folder}{slash}{stem}", extension.lower() if stem else ""


def _image_of(members: list[_Member], wanted: str | None) -> _Member | str:
    """The sample's image, or why it has none."""
    if wanted is not None:
        found = [member for member in members if member.extension == wanted]
    else:
        found = [member for member in members if f".{member.extension}".endswith(SUFFIXES)]
    if not found:
        there = Counter(f".{member.extension}" for member in members)
        return f"has no {f'.{wanted}' if wanted else 'image'} among its members ({', '.join(sorted(there))})"
    if len(found) > 1:
        there = Counter(f".{member.extension}" for member in found)
        return (
            f"has several images ({', '.join(sorted(there))}); choose one, as with --image-column {found[0].extension}"
        )
    return found[0] if found[0].whole else _CUT


def _label_of(handle: IO[bytes], members: list[_Member], wanted: str | None) -> str | None:
    whole = {member.extension: member for member in members if member.whole}
    if wanted is None and "cls" in whole:
        return (_text(handle, whole["cls"]) or "").strip()
    text = _text(handle, whole["json"]) if "json" in whole else None
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    found = value.get(wanted or "label") if isinstance(value, dict) else None
    return str(found) if isinstance(found, str | int | float) else None


def _text(handle: IO[bytes], member: _Member) -> str | None:
    if member.size > _MOST_LABEL_BYTES[member.extension]:
        return None
    handle.seek(member.offset)
    return handle.read(member.size).decode("utf-8", "replace")
