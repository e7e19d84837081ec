"""What a folder holds: its images as a table, and what was passed over, in words and numbers."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby

import pyarrow as pa

from pipeline.data.decode import SUFFIXES
from pipeline.data.globs import Glob, Wanted
from pipeline.data.kinds import HEAD, OTHER, kind_of, leftover, listed, suffix_of, what_to_do
from pipeline.errors import InputError
from pipeline.storage import Location

_BATCH = 65_536
_HEADS = 64
"""Files without a known suffix that are looked into where there is no image."""
_NO_UTF8 = "names that are not in UTF-8, to be renamed"
_MASK = re.compile(
    r"(?:^|[/_\-. ()])(?:masks?|seg|segmentations?|ground[_\- ]?truth|annotations?|gt|overlays?)"
    r"(?:[_\- .()]*\d*\)?)(?:/|\.[^./]+$)",
    re.IGNORECASE,
)
"""A file, or a folder on its way, that is called the mask of an image, such as 001_mask.png and masks/1.png."""

_Row = tuple[str, int, int]


@dataclass
class Passed:
    """What is no image of the pool, counted. No word of a name that may be a patient's."""

    others: Counter[str] = field(default_factory=Counter)
    """By suffix, or "other"."""
    hidden: Counter[str] = field(default_factory=Counter)
    """Hidden files and leftovers, by what hides them."""
    hidden_images: int = 0
    unwanted: int = 0
    """Images that ``Wanted`` does not take."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Links, folders and names, by ``pipeline.storage.SKIPPED``."""
    heads: list[str] = field(default_factory=list)
    """Some files of no known suffix."""


@dataclass(frozen=True)
class Listing:
    """The images below a folder, and what else is there."""

    table: pa.Table
    """Columns key (sorted; hidden ones last), size (bytes) and time (of the last change, ns)."""
    state: str
    """A hash of keys, sizes and modification times."""
    passed: Passed
    twins: Counter[str]
    """Images that share folder and stem with another, by their suffixes, such as ".bmp with .png"."""
    masks: int
    """Images that are called masks, where others are not."""
    wanted: Wanted
    useless: tuple[Glob, ...]
    """Globs to include or exclude that fit no image."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the user."""
        passed, notes = self.passed, []
        if passed.others:
            notes.append(f"files that are no images to us are left aside: {_by_name(passed.others)}")
        if passed.hidden:
            notes.append(f"{_hidden_words(passed)}; --set ingest.hidden=true reads hidden images")
        if passed.unwanted:
            notes.append(f"images that the globs leave out: {passed.unwanted}")
        notes += [f"no image fits the glob '{glob.text}'" for glob in self.useless]
        if passed.skipped:
            notes.append(f"passed over: {', '.join(f'{what} ({n})' for what, n in sorted(passed.skipped.items()))}")
        if self.twins:
            first = next(iter(sorted(self.twins))).split(" ")[0]
            notes.append(
                f"images that share folder and stem with another: {_by_name(self.twins)}; if one is the mask of the "
                f"other, choose, as with --include '*{first}'"
            )
        if self.masks:
            notes.append(
                f"images that are called masks, segmentations or annotations: {self.masks} of {self.table.num_rows}; "
                "leave them out with --exclude, as with --exclude '*mask*'"
            )
        return tuple(notes)

    def instead(self, location: Location) -> str:
        """The rest of the sentence that says there is no image: what there is, and what to do."""
        passed = self.passed
        if passed.unwanted:
            globs = self.wanted.words or "its glob"
            return f" that {globs} takes; it leaves out {passed.unwanted}: check the glob."
        kinds = _kinds(location, passed)
        also = [f"{what} ({n})" for what, n in sorted(passed.skipped.items())]
        if passed.hidden:
            also.append(_hidden_words(passed))
        there = "; ".join([*([f"found {listed(kinds.most_common())}"] if kinds else []), *also])
        if passed.hidden_images and not kinds.keys() - {OTHER}:
            do = "--set ingest.hidden=true reads hidden images"
        else:
            do = what_to_do(kinds)
        return f": {there or 'nothing is there'}; {do}."


def list_images(location: Location, wanted: Wanted | None = None, *, hidden: bool = False) -> Listing:
    """All image files below ``location`` that are ``wanted``.

    Memory: about 140 bytes a file at the peak with keys of 22 letters, of which the table keeps 46.

    Args:
        hidden: whether to take hidden files and leftovers too. They come after all others, so that of equal files
            the one that is not hidden is the first.

    Raises:
        InputError: ``location`` is a file, or may not be read.
    """
    wanted, passed = wanted or Wanted(), Passed()
    useless = {*wanted.include, *wanted.exclude}
    try:
        plain, late = _tables(_images(location, wanted, hidden, passed, useless))
    except NotADirectoryError:
        kind = kind_of(suffix_of(location.uri))
        do = "folder:PATH takes the folder that it lies in" if kind == OTHER else what_to_do(Counter([kind]))
        raise InputError(f"'{location.uri}' is a file; {do}.") from None
    except PermissionError as error:
        raise InputError(f"'{error.filename}' may not be read; mend its permissions.") from None
    # In one chunk, because ``take`` from several would concatenate all of them first.
    table = pa.concat_tables([part.sort_by("key") for part in (plain, late)]).combine_chunks()
    digest, twins, masks = hashlib.sha256(), Counter[str](), 0
    for _, group in groupby(_rows(table), _stem_start):
        rows = list(group)
        for key, size, time in rows:
            digest.update(f"{key}\0{size}\0{time}\n".encode())
            masks += _called_mask(key)
        if len(rows) > 1:
            twins.update(_twins([key for key, _, _ in rows]))
    return Listing(
        table,
        digest.hexdigest()[:16],
        passed,
        twins,
        masks if masks < table.num_rows else 0,
        wanted,
        tuple(sorted(useless, key=lambda glob: glob.text)),
    )


def _images(
    location: Location, wanted: Wanted, hidden: bool, passed: Passed, useless: set[Glob]
) -> Iterator[tuple[bool, _Row]]:
    """(whether it is hidden, row) of every image to take; counts all others. Takes globs that fit from ``useless``."""
    takes = wanted.takes if wanted else None
    for row in location.walk(late=lambda folder: leftover(folder) is not None, skipped=passed.skipped):
        key = row[0]
        is_image = key.lower().endswith(SUFFIXES)
        what = leftover(key)
        if what is not None and not (hidden and is_image):
            passed.hidden[what] += 1
            passed.hidden_images += is_image
        elif not is_image:
            suffix = suffix_of(key)
            passed.others[suffix] += 1
            if suffix == OTHER and len(passed.heads) < _HEADS:
                passed.heads.append(key)
        else:
            if useless:
                useless -= {glob for glob in useless if glob.fits(key)}
            if takes is not None and not takes(key):
                passed.unwanted += 1
            elif not (key.isascii() or _is_text(key)):
                passed.skipped[_NO_UTF8] += 1
            else:
                yield what is not None, row


def _tables(rows: Iterable[tuple[bool, _Row]]) -> tuple[pa.Table, pa.Table]:
    """Columns key, size, time of the rows that are not hidden and of those that are."""
    # Large strings: sorting concatenates all keys, and 32-bit offsets end at 2 GiB.
    schema = pa.schema([("key", pa.large_string()), ("size", pa.int64()), ("time", pa.int64())])
    batches: tuple[list[pa.RecordBatch], ...] = ([], [])
    held: tuple[list[_Row], ...] = ([], [])

    def put(which: int) -> None:
        columns = zip(*held[which], strict=True)
        arrays = [pa.array(column, each.type) for column, each in zip(columns, schema, strict=False)]
        batches[which].append(pa.record_batch(arrays, schema))
        held[which].clear()

    for hidden, row in rows:
        held[hidden].append(row)
        if len(held[hidden]) == _BATCH:
            put(hidden)
    for which in (0, 1):
        if held[which]:
            put(which)
    plain, late = (pa.Table.from_batches(each, schema) for each in batches)
    return plain, late


def _rows(table: pa.Table) -> Iterator[_Row]:
    for batch in table.to_batches(max_chunksize=_BATCH):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _stem_start(row: _Row) -> str:
    """The key up to the first dot of the file's name. Keys that share a stem share this and lie side by side."""
    key = row[0]
    dot = key.find(".", key.rfind("/") + 2)
    return key[:dot] if dot >= 0 else key


def _twins(keys: list[str]) -> Counter[str]:
    """How many of ``keys`` share folder and stem with another, by their suffixes."""
    suffixes: dict[str, list[str]] = {}
    for key in keys:
        stem, _, suffix = key.rpartition(".")
        suffixes.setdefault(stem, []).append(f".{suffix.lower()}")
    found = Counter[str]()
    for several in suffixes.values():
        if len(several) > 1:
            found[" with ".join(sorted(several))] += len(several)
    return found


def _called_mask(key: str) -> bool:
    folder, _, name = key.rpartition("/")
    return _is_mask_folder(folder) or _MASK.search(name) is not None


@lru_cache(4096)
def _is_mask_folder(folder: str) -> bool:
    return _MASK.search(f"{folder}/") is not None


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kinds(location: Location, passed: Passed) -> Counter[str]:
    """The files that are no images by kind. Those of no known suffix are known by how some of them begin."""
    kinds = Counter[str]()
    for suffix, count in passed.others.items():
        if suffix != OTHER:
            kinds[kind_of(suffix)] += count
    heads = Counter(kind_of(OTHER, _head(location, name)) for name in passed.heads)
    for kind, count in heads.items():
        # Of all as many as of those that were looked into.
        kinds[kind] += round(passed.others[OTHER] * count / len(passed.heads))
    return kinds


def _head(location: Location, name: str) -> bytes:
    try:
        with location.open(name) as file:
            return bytes(file.read(HEAD))
    except (OSError, pa.ArrowInvalid, UnicodeEncodeError):
        return b""


def _hidden_words(passed: Passed) -> str:
    images = f", {passed.hidden_images} of them images" if passed.hidden_images else ""
    total = sum(passed.hidden.values())
    return f"hidden files and leftovers of other programs are passed over: {total} ({_by_name(passed.hidden)}){images}"


def _by_name(counts: Counter[str]) -> str:
    return listed(sorted(counts.items()))
