"""``ingest.source`` ("folder:PATH", "npz:FILE", ...) -> an opened source, and the pool's name."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts import PoolManifest
from pipeline.config import IngestConfig
from pipeline.data.datasets import cifar10_lt, digits, medmnist_classes, medmnist_file
from pipeline.data.folder import FolderSource, by_page, file_of
from pipeline.data.globs import Glob, Wanted, split_glob
from pipeline.data.labels import (
    Cleaner,
    Table,
    labels_from_folders,
    labels_from_tables,
    number_labels,
    numbers_from_array,
    unlabelled_note,
)
from pipeline.data.listing import Listing, list_images
from pipeline.data.npz import NpzContent, open_npz
from pipeline.data.packed import Packs, list_packs, packs_of
from pipeline.data.parquet_images import IMAGE, Columns, open_parquet
from pipeline.data.shards import open_shards
from pipeline.data.sources import CHANNELS, ArraySource, Source
from pipeline.errors import InputError
from pipeline.storage import Location, open_source

SMALLEST = 8
"""Pixels a side, as scikit-learn's digits have."""
_SOME_SUFFIXES = ".jpg, .png, .tif, .bmp, .gif, .webp, .jp2, .pgm"
FOLDER_SIZE = 224
"""Pixels a side of a folder's images unless the settings say otherwise."""

_PACKED = {"parquet": ".parquet", "webdataset": ".tar"}
"""Scheme -> suffix of its files."""
_OF_FILES = ("folder", *_PACKED)
"""Schemes whose images are resized as a folder's are, and whose path may end in a glob."""

FOLDERS = "folder"
"""In place of a labels table: the folders' names are the classes."""


def open_images(config: IngestConfig) -> Source:
    """List the images that ``config.source`` names, and read their labels.

    Raises:
        InputError: unknown scheme, missing source, no images, or labels that do not fit.
    """
    scheme, rest = _split(config)
    if scheme != "folder" and config.labels is not None:
        raise InputError(f"'{config.source}' brings its own labels; leave --labels out (it is for folder:...).")
    return _SCHEMES[scheme](rest, config)


def checked(config: IngestConfig) -> IngestConfig:
    """The settings with values checked and local paths absolute, since a worker has another working directory.

    Raises:
        InputError: an invalid value.
    """
    for key, value, least in (
        ("image_size", config.image_size, SMALLEST),
        ("max_pixels", config.max_pixels, 1),
        ("rows_per_file", config.rows_per_file, 1),
    ):
        if value is not None and value < least:
            raise InputError(f"'ingest.{key}' is {value}; give {least} or more.")
    scheme, rest = _split(config)
    pool_name(config)
    for key, only in (("image_column", (*_PACKED,)), ("image_shape", ("parquet",))):
        if scheme not in only and getattr(config, key) != getattr(IngestConfig, key):
            kinds = " and ".join(f"{name}:PATH" for name in only)
            raise InputError(f"ingest.{key} is for {kinds}, not for '{config.source}'; leave it out.")
    shape = config.image_shape
    if shape and (len(shape) not in (2, 3) or shape[2:] not in ((), (1,), (3,))):
        raise InputError(f"'ingest.image_shape' is {','.join(map(str, shape))}; give HEIGHT,WIDTH or HEIGHT,WIDTH,3.")
    for key in ("include", "exclude", "hidden", "pages"):
        if scheme != "folder" and getattr(config, key) != getattr(IngestConfig, key):
            raise InputError(f"ingest.{key} is for folder:PATH, not for '{config.source}'; leave it out.")
    if config.held_out is not None and scheme != "npz":
        raise InputError(f"ingest.held_out is for npz:FILE, not for '{config.source}'; leave it out.")
    labels = config.labels
    if config.more_labels and labels in (None, FOLDERS, *config.more_labels):
        raise InputError(f"Labels come from '{labels}' or from tables, each named once; keep one with --labels.")
    return dataclasses.replace(
        config,
        source=f"{scheme}:{_absolute(rest)}" if scheme in ("npz", *_OF_FILES) else config.source,
        labels=labels if labels in (None, FOLDERS) else _absolute(str(labels)),
        more_labels=tuple(map(_absolute, config.more_labels)),
        held_out=_absolute(config.held_out) if config.held_out else None,
        data_dir=_absolute(config.data_dir) if config.data_dir else None,
    )


def look(config: IngestConfig) -> None:
    """Raise InputError where this machine sees at once that a source cannot be read. Called before Ray starts.

    A glance, not a listing: whether the folder, the archive and the tables of labels are there.
    """
    settings = checked(config)
    scheme, rest = _split(settings)
    if scheme == "npz" and not rest.startswith("s3://"):
        location, file = _folder_and_file(rest)
        if not location.is_file(file):
            raise InputError(f"There is no file '{rest}'; check the path.")
    if scheme in _PACKED:
        open_source(_folder_and_glob(rest)[0])
    if scheme != "folder":
        return
    location = open_source(_folder_and_glob(rest)[0])
    if next(location.walk(), None) is None:
        raise InputError(f"There is no file in or below '{rest}'; check the path.")
    for name in (settings.labels, *settings.more_labels):
        if name not in (None, FOLDERS):
            _table(str(name), location)


def pool_name(config: IngestConfig) -> str:
    """``ingest.name``, or a name made of source and size, such as "blood28" or "scans-224px".

    Raises:
        InputError: ``ingest.name`` has characters that a folder name should not have.
    """
    if config.name is not None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", config.name):
            raise InputError(f"'ingest.name' is '{config.name}'; use letters, digits, '.', '_' and '-'.")
        return config.name
    scheme, rest = _split(config)
    folder, glob = _folder_and_glob(rest) if scheme in _OF_FILES else (rest, "")
    stem = folder.rstrip("/").rpartition("/")[2].removesuffix(".npz").removesuffix(_PACKED.get(scheme, "")) or scheme
    stem = f"{stem} {glob}"
    slug = re.sub(r"[^a-z0-9_]+", "-", stem.lower()).strip("-") or scheme
    size = config.image_size or (folder_size(config) if scheme in _OF_FILES else None)
    return f"{slug}-{size}px" if size else slug


def folder_size(config: IngestConfig) -> int:
    """Pixels a side of a folder's images where ``image_size`` is not given."""
    return config.folder_size or FOLDER_SIZE


def _split(config: IngestConfig) -> tuple[str, str]:
    scheme, colon, rest = config.source.partition(":")
    takes = {"npz": "FILE", "medmnist": "NAME"} | dict.fromkeys(_OF_FILES, "PATH")
    valid = ", ".join(f"{name}:{takes[name]}" if name in takes else name for name in _SCHEMES)
    if not config.source:
        raise InputError(f"No images are named; give --pool (ingest.source), one of {valid}.")
    if scheme not in _SCHEMES:
        raise InputError(f"'{config.source}' is no known kind of image source; write one of {valid}.")
    if bool(rest) != (scheme in takes) or bool(colon) != (scheme in takes):
        raise InputError(f"'{config.source}' should read {scheme}{':' + takes[scheme] if scheme in takes else ''}.")
    return scheme, rest


def _absolute(path: str) -> str:
    return path if path.startswith("s3://") else os.path.abspath(os.path.expanduser(path))


def _digits(_: str, config: IngestConfig) -> Source:
    return digits(config.image_size, CHANNELS.get(config.channels))


def _cifar10_lt(_: str, config: IngestConfig) -> Source:
    return cifar10_lt(config.image_size, CHANNELS.get(config.channels), config.data_dir)


def _npz(path: str, config: IngestConfig) -> Source:
    content = open_npz(*_folder_and_file(path))
    if config.held_out is not None:
        content = _with_held_out(content, open_npz(*_folder_and_file(config.held_out), of=("test", "val")), config)
    return _array_source(content, config, path)


def _with_held_out(pool: NpzContent, held_out: NpzContent, config: IngestConfig) -> NpzContent:
    both = sorted({*pool.stacks} & {*held_out.stacks})
    if both:
        raise InputError(f"'{config.source}' has {both[0]}_images itself; leave ingest.held_out out.")
    state = f"{pool.state}, held out {held_out.state}"
    return NpzContent(pool.stacks | held_out.stacks, pool.labels | held_out.labels, state)


def _medmnist(name: str, config: IngestConfig) -> Source:
    path = str(medmnist_file(name, config.data_dir))
    source = _array_source(open_npz(*_folder_and_file(path)), config, path)
    known = medmnist_classes(name)
    if known is None or source.classes is None or not set(source.classes) <= set(known):
        return source
    # All classes of the data set in its own order, even those without an image in this file.
    number = np.array([list(known).index(value) for value in source.classes], np.int32)
    renumbered = {
        split: np.where(labels < 0, -1, number[labels]).astype(np.int32)
        for split, labels in source.label_numbers.items()
    }
    return dataclasses.replace(source, label_numbers=renumbered, classes=tuple(known.values()))


def _array_source(content: NpzContent, config: IngestConfig, shown: str) -> ArraySource:
    sides = {stack.shape[1:3] for stack in content.stacks.values()}
    if len(sides) > 1 and config.image_size is None:
        raise InputError(f"The splits of '{shown}' have different sizes {sorted(sides)}; choose one with --image-size.")
    source = ArraySource(content.stacks, content.state, size=config.image_size, channels=CHANNELS.get(config.channels))
    single = {split: labels.reshape(-1) for split, labels in content.labels.items() if labels.size == len(labels)}
    if len(single) < len(content.labels):
        return dataclasses.replace(source, notes=(f"'{shown}' has several labels an image; they are not kept",))
    if not single:
        return source
    clean = Cleaner(config.no_label)
    numbers, classes = numbers_from_array(single, clean)
    notes = tuple(
        f"{split}: {unlabelled_note(missing, len(each), clean)}"
        for split, each in numbers.items()
        if (missing := int((each < 0).sum()))
    )
    state = f"{source.state}{_no_label_state(config)}"
    if not classes:
        return dataclasses.replace(source, state=state, notes=notes)
    return dataclasses.replace(source, state=state, label_numbers=numbers, classes=classes, notes=notes)


def list_folder(config: IngestConfig) -> tuple[Location, Listing]:
    """A folder's images, unread.

    Raises:
        InputError: the source is no folder, or missing.
    """
    scheme, path = _split(config)
    if scheme != "folder":
        raise InputError(f"Only a folder can grow, and '{config.source}' is none; give --pool folder:PATH.")
    folder, within = _folder_and_glob(path)
    location = open_source(folder)
    wanted = Wanted(
        tuple(map(Glob, config.include)), tuple(map(Glob, config.exclude)), Glob(f"/{within}") if within else None
    )
    return location, list_images(location, wanted, hidden=config.hidden)


def some_of_folder(config: IngestConfig, location: Location, listing: pa.Table, like: PoolManifest) -> FolderSource:
    """Some of a folder's files (columns key, size, time), in the shape of the pool ``like``."""
    if config.pages == "all":
        listing = by_page(location, listing)
    state = f"{listing.num_rows} files of {config.source}"
    return FolderSource(location, listing, state, like.height, like.channels, config.max_pixels)


def _folder(path: str, config: IngestConfig) -> Source:
    location, found = list_folder(config)
    listing = found.table
    if listing.num_rows == 0:
        raise InputError(f"There is no image ({_SOME_SUFFIXES}, ...) in or below '{path}'{found.instead(location)}")
    every = ""
    if config.pages == "all":
        listing, every = by_page(location, listing), " by page"
    # The keys that labels are joined by name the file.
    keys = [file_of(key) for key in listing["key"].to_pylist()] if config.labels else []
    clean = Cleaner(config.no_label)
    numbers, classes, labels_state = _folder_labels(config, location, keys, clean) if config.labels else _UNKNOWN
    missing = 0 if numbers is None else int((numbers < 0).sum())
    notes = found.notes
    if missing:
        notes = (*notes, unlabelled_note(missing, listing.num_rows, clean))
    return FolderSource(
        location,
        listing,
        state=f"{found.table.num_rows} files{every} {found.state}{labels_state}",
        size=config.image_size or folder_size(config),
        channels=CHANNELS.get(config.channels),
        max_pixels=config.max_pixels,
        label_numbers=numbers,
        classes=classes,
        notes=notes,
    )


def _packs(scheme: str, path: str) -> Packs:
    """The files of a packed pool: one that is named, or those of a folder.

    Raises:
        InputError: there is none.
    """
    if path.lower().endswith(_PACKED[scheme]):
        folder, name = _folder_and_file(path)
        if folder.is_file(name):  # else a folder of that name, as Spark writes it
            return packs_of(folder, [folder.row(name)])
    within, glob = _folder_and_glob(path)
    return list_packs(open_source(within), _PACKED[scheme], Glob(f"/{glob}") if glob else None, path)


def _parquet(path: str, config: IngestConfig) -> Source:
    label = config.label_column if config.label_column != IngestConfig.label_column else None
    columns = Columns(config.image_column or IMAGE, config.key_column, label, config.image_shape)
    shape = f", shape {'x'.join(map(str, config.image_shape))}" if config.image_shape else ""
    return open_parquet(
        _packs("parquet", path),
        columns,
        Cleaner(config.no_label),
        size=config.image_size or folder_size(config),
        channels=CHANNELS.get(config.channels),
        max_pixels=config.max_pixels,
        state=f", columns {columns.image} {columns.key} {config.label_column}{shape}{_no_label_state(config)}",
    )


def _webdataset(path: str, config: IngestConfig) -> Source:
    if config.key_column != IngestConfig.key_column:
        raise InputError(f"The keys of '{config.source}' are its members' names; leave --key-column out.")
    label = config.label_column if config.label_column != IngestConfig.label_column else None
    image = config.image_column.lower().lstrip(".") if config.image_column else None
    return open_shards(
        _packs("webdataset", path),
        image,
        label,
        Cleaner(config.no_label),
        size=config.image_size or folder_size(config),
        channels=CHANNELS.get(config.channels),
        max_pixels=config.max_pixels,
        state=f", images {image or 'of any kind'}, labels {config.label_column}{_no_label_state(config)}",
    )


def image_folder(source: str) -> str:
    """The folder that keys are relative to: PATH of ``folder:PATH`` without its glob. Of other sources ``source``."""
    return _folder_and_glob(source.removeprefix("folder:"))[0] if source.startswith("folder:") else source


def _folder_and_glob(path: str) -> tuple[str, str]:
    """(folder, glob or nothing). A folder of that very name comes first."""
    folder, glob = split_glob(path)
    if not glob:
        return path, ""
    with suppress(OSError):  # who opens the folder says what is wrong
        if Location(path).exists():
            return path, ""
    return folder, glob


_UNKNOWN: tuple[NDArray[np.int32] | None, tuple[str, ...] | None, str] = (None, None, "")


def _folder_labels(
    config: IngestConfig, images: Location, keys: list[str], clean: Cleaner
) -> tuple[NDArray[np.int32], tuple[str, ...], str]:
    """(label numbers by position, class names, the tables' state)."""
    if config.labels == FOLDERS:
        names, state = labels_from_folders(keys, clean), ""
    else:
        tables = [_table(name, images) for name in (str(config.labels), *config.more_labels)]
        names = labels_from_tables(tables, keys, config.key_column, config.label_column, clean)
        state = ", labels " + " ".join(hashlib.sha256(table.data).hexdigest()[:16] for table in tables)
    return *number_labels(names), f"{state}{_no_label_state(config)}"


def _no_label_state(config: IngestConfig) -> str:
    """Of what no label means, where that is not the default: as pools of earlier versions have it."""
    return "" if config.no_label == IngestConfig.no_label else f", no label is {'/'.join(config.no_label)}"


def _table(name: str, images: Location) -> Table:
    location, file = _folder_and_file(name)
    if not location.is_file(file):
        location = images  # data sets often come with their table among the images
    if not location.is_file(file):
        raise InputError(
            f"There is no labels file '{name}', nor a '{file}' in '{images.show()}'; "
            "write --labels folder or the path of a CSV file."
        )
    return Table(name, location.read_bytes(file))


def _folder_and_file(path: str) -> tuple[Location, str]:
    folder, _, file = path.rpartition("/")
    if not path.startswith("s3://"):
        return Location(folder or "/"), file
    return open_source(folder), file


_SCHEMES: dict[str, Callable[[str, IngestConfig], Source]] = {
    "digits": _digits,
    "npz": _npz,
    "medmnist": _medmnist,
    "cifar10-lt": _cifar10_lt,
    "folder": _folder,
    "parquet": _parquet,
    "webdataset": _webdataset,
}
