"""A query's files for annotators, beside the query: written where they are missing or have changed."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from pipeline.artifacts import PoolManifest, Uint8
from pipeline.config import RunConfig
from pipeline.data.catalogue import image_folder
from pipeline.data.folder import file_of
from pipeline.handover.coco import coco_images
from pipeline.handover.contact_sheet import contact_sheet_pdf
from pipeline.handover.cvat import cvat_manifest, cvat_task
from pipeline.handover.label_studio import (
    image_address,
    label_studio_json,
    label_studio_lines,
    label_studio_tasks,
    what_to_say_of_addresses,
)
from pipeline.handover.spreadsheet import query_csv
from pipeline.results import COCO, CVAT_MANIFEST, CVAT_TASK, LABEL_STUDIO, QUERY, SHEET, TASKS
from pipeline.run import Run
from pipeline.storage import Location

SHOWN = 600
"""Most pictures of the contact sheet."""
_READERS = 8


def write_bundle(run: Run, folder: str, number: int, query: pa.Table, images: Uint8, pool: PoolManifest) -> None:
    """Everything that a tool or a person is handed for query ``number``.

    ``query.image_prefix`` may have changed since: then Label Studio's tasks and CVAT's are written anew, the former
    under another name, since Label Studio never reads a name twice.

    Args:
        query: ``ORDER_SCHEMA``, in order; images: (n, H, W, C) of its first n.
    """
    config, store = run.config, run.store
    prefix, place = addressed(config)
    keys = query["key"].to_pylist()
    tasks = label_studio_tasks(
        query, [image_address(key, prefix, place) for key in keys], f"hacon {config.run} query {number}", number
    )
    of_folder = config.ingest.source.startswith("folder:")
    imported = label_studio_json(tasks).encode()
    changed = _write(store, f"{folder}/{TASKS}", imported)
    if changed is not None and of_folder and (remark := what_to_say_of_addresses(keys, prefix)):
        run.log(f"Label Studio: {remark}")
    if changed:
        run.log(f"Label Studio's tasks are written anew, with other addresses: {store.show(f'{folder}/{TASKS}')}")
    version = hashlib.sha256(imported).hexdigest()[:8]
    name = f"{folder}/{LABEL_STUDIO}/{version}/{config.run}-query-{number:04d}.jsonl"
    _write(store, name, label_studio_lines(tasks).encode())
    _write(store, f"{folder}/{QUERY}", query_csv(query).encode())
    if not of_folder:
        return  # numbers in an array are no files that a tool could open
    sizes = _sizes(config, keys, pool) if changed is not None else None
    if sizes is not None:
        title = f"{config.run} query {number}"
        _write(store, f"{folder}/{CVAT_MANIFEST}", cvat_manifest(query, sizes).encode())
        _write(store, f"{folder}/{COCO}", coco_images(query, sizes, title).encode())
        _write(store, f"{folder}/{CVAT_TASK}", cvat_task(title, keys, config.query.readers).encode())
        shown = min(len(images), SHOWN)
        sheet = contact_sheet_pdf(title, images[:shown], query["rank"].to_pylist()[:shown], keys[:shown])
        store.write_bytes(f"{folder}/{SHEET}", sheet)


def addressed(config: RunConfig) -> tuple[str | None, str | None]:
    """(Prefix of the images' addresses, folder on this machine); an S3 folder is an address, a local one is none."""
    place = image_folder(config.ingest.source)
    folder = place if place != config.ingest.source else None
    if config.query.image_prefix is None and folder is not None and folder.startswith("s3://"):
        return folder, None
    return config.query.image_prefix, folder


def _write(store: Location, name: str, data: bytes) -> bool | None:
    """Whether another content was there; None where this very content was."""
    there = store.is_file(name)
    if there and store.read_bytes(name) == data:
        return None
    store.write_bytes(name, data)
    return there


def _sizes(config: RunConfig, keys: list[str], pool: PoolManifest) -> list[tuple[int, int]]:
    """(width, height) of each file, by its header; of a file that says none, the pool's."""
    location = Location(image_folder(config.ingest.source))

    def size(key: str) -> tuple[int, int]:
        try:
            with location.open(file_of(key)) as file, Image.open(file) as image:
                return image.size
        except (OSError, UnidentifiedImageError, pa.ArrowInvalid, ValueError, Image.DecompressionBombError):
            return pool.width, pool.height

    with ThreadPoolExecutor(_READERS) as readers:
        return list(readers.map(size, keys))
