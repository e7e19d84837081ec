"""``hacon.select``: the main job as a function."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from pipeline.artifacts import Int64, Uint8
from pipeline.config import check, override, settled, to_dict
from pipeline.home import settle_home
from pipeline.presets import preset as preset_of
from pipeline.progress import silent
from pipeline.run import ARRAYS, Run
from pipeline.storage import Location, open_store

_DIGITS = 12


@dataclass(frozen=True)
class Query:
    """The images to label, best first. B = budget."""

    rows: Int64 | None
    """(B,) rows of the given array. None: a source was given."""
    keys: tuple[str, ...]
    """(B,) names of the images: the path below the folder, or the row as text."""
    report: str
    """The page: a path, or an address on S3."""
    run: str
    """The run's name on the store. ``hacon select --from RUN`` continues it."""
    store: Location
    order_file: str

    def __len__(self) -> int:
        return len(self.keys)

    def table(self) -> pa.Table:
        """rank, sample_id, key, cluster, confidence, variability; one row an image, first = label first.

        ``sample_id`` numbers the pool without duplicates. It is not a row of your array; ``rows`` and ``key`` are.
        """
        return self.store.read_table(self.order_file, between=("rank", 1, len(self))).sort_by("rank")


def select(
    images: ArrayLike | str | Path,
    budget: int,
    *,
    order: str | None = None,
    labels: ArrayLike | str | None = None,
    run: str | None = None,
    store: str = "./hacon-store",
    features: str | None = None,
    preset: str = "default",
    seed: int = 0,
    workers: int = 1,
    settings: Mapping[str, Any] | None = None,
    log: Callable[[str], None] | None = None,
) -> Query:
    """The ``budget`` images to label first. Needs no label.

    Finished stages are kept. The same call returns the same query at once, and a killed call resumes.

    Args:
        images: (N, H, W), (N, H, W, 1) or (N, H, W, 3) uint8; or a folder; or a source as ``--pool`` takes it
            (``folder:s3://bucket/scans``, ``npz:FILE``, ``digits``).
        budget: images to label.
        order: a strategy's name, or ``module:function``; none: the preset's.
        features: "imagenet", "moco", "timm:NAME", or a file of your own (.parquet, .npy, .npz); none: the preset's.
        labels: for the report only, never for the selection: (N,) with an array; with a folder "folder" or a CSV file.
        run: its name on the store; none: one that follows from all that is given.
        store: a directory or s3://bucket/prefix.
        settings: any setting by its dotted name, such as ``{"pretrain.epochs": 50, "query.order": "typiclust"}``.
        log: called with each line of progress, such as ``print``. None: silent.

    Raises:
        ValueError: an array that is no stack of images, or labels that do not fit it.
        InputError: all other bad input, in the command line's words.
    """
    place = open_store(store)
    array = None if isinstance(images, str | Path) else _images(images)
    values: dict[str, Any] = {"query.budget": budget, "seed": seed, "workers": workers, "store": store}
    if array is None:
        values |= {"ingest.source": _source(str(images)), "ingest.labels": labels}
    else:
        values["ingest.source"] = f"npz:{_written(place, array, labels)}"
    if order is not None:
        values["query.order"] = order
    if features is not None:
        values["embed.features"] = features
    config = settled(override(preset_of(preset), {**values, **(settings or {})}))
    name = run or f"python-{_digest(to_dict(replace(config, store='', workers=1)))}"
    config = replace(config, run=name)
    check(config)
    if (moved := settle_home()) is not None:
        (log or silent)(moved)
    from pipeline.stages.select import select as run_all  # Ray: five seconds

    done = run_all(Run(config, place, log or silent))
    chosen = place.read_table(done.queried.order_file, ["rank", "key"], between=("rank", 1, budget)).sort_by("rank")
    keys = tuple(chosen["key"].to_pylist())
    rows = None if array is None else np.array([int(key) for key in keys], np.int64)
    return Query(rows, keys, place.show(done.reported.page_file), name, place, done.queried.order_file)


def _images(images: ArrayLike) -> Uint8:
    array = np.asarray(images)
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)):
        raise ValueError(
            f"images are {array.dtype} of shape {array.shape}; give uint8 of (N, H, W), (N, H, W, 1) or (N, H, W, 3)"
        )
    return np.ascontiguousarray(array)


def _source(images: str) -> str:
    """The source that a string means: itself if it has a source's form, else a folder."""
    scheme, colon, _ = images.partition(":")
    if images in ("digits", "cifar10-lt") or (
        colon and scheme in ("folder", "npz", "medmnist", "parquet", "webdataset")
    ):
        return images
    return f"folder:{images}"


def _written(store: Location, images: Uint8, labels: ArrayLike | str | None) -> str:
    """Write the array to the store as an .npz named by its content, for workers to read. Returns its address."""
    arrays = [images] if labels is None else [images, _labels(labels, len(images))]
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape} ".encode())
        digest.update(array.data)
    short = digest.hexdigest()[:_DIGITS]
    name = f"{ARRAYS}/{short}/array-{short}.npz"
    if not store.is_file(name):
        with store.writing(name) as path, path.open("wb") as file:
            np.savez(file, **dict(zip(("train_images", "train_labels"), arrays, strict=False)))  # type: ignore[arg-type]
    return store.address(name)


def _labels(labels: ArrayLike | str, size: int) -> NDArray[Any]:
    """(N,) numbers or text, and no Python objects, which could only be pickled."""
    array = np.ascontiguousarray(labels)
    if len(array) != size:
        raise ValueError(f"{len(array)} labels for {size} images")
    return array.astype(str) if array.dtype == object else array


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:_DIGITS]
