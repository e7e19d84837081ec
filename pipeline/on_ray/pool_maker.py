"""Makes a pool with Ray Data: many tasks read images, and many tasks write them.

The way of one image: ``survey`` lists it, ``_stage`` reads it, ``_settle`` gives it its id,
``_write_pool_files`` writes it.

The driver handles numbers only. The listing and the labels stay in Ray's object store, the pixels on the store. One
task lists (``_survey``), many stage pieces (``_stage``), one assigns ids (``_settle``), and many write the pool's
files (``_write_pool_files``). ``pipeline.data`` describes what they do.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray

from pipeline.artifacts import DUPLICATES_COLUMNS, REJECTED_COLUMNS, PoolFiles, PoolManifest
from pipeline.config import IngestConfig
from pipeline.data.catalogue import open_images
from pipeline.data.folder import FolderSource
from pipeline.data.sources import Shape, Source
from pipeline.data.staging import (
    Sizes,
    accepted,
    catalogue,
    label_table,
    pool_fingerprint,
    rejected,
    repeated,
    stage,
    write_pool_file,
)
from pipeline.errors import InputError
from pipeline.on_ray.failures import bad_input_as_itself
from pipeline.on_ray.follow import blocks, follow
from pipeline.progress import counted
from pipeline.run import Run
from pipeline.storage import Location

_LEAST_PIECE = 32
_PIECES_PER_CPU = 4


@dataclass(frozen=True)
class Survey:
    """What the driver needs to know of a source."""

    state: str
    splits: dict[str, int]
    classes: tuple[str, ...] | None
    notes: tuple[str, ...]
    source: ray.ObjectRef[Source] | None = None
    """The opened source, in Ray's object store."""


@dataclass(frozen=True)
class _Job:
    """What every task of one attempt needs."""

    store: Location
    folder: str
    source: ray.ObjectRef[Source]
    rows_per_file: int

    @property
    def files(self) -> PoolFiles:
        """Where everything is written."""
        return PoolFiles(self.folder)


@dataclass(frozen=True)
class _Settled:
    """The outcome of the first pass."""

    splits: dict[str, int]
    duplicates: int
    rejected: int
    paged: int
    fingerprint: str


def survey(settings: IngestConfig) -> Survey:
    """Open the source, in a task.

    Raises:
        InputError: no such source, or nothing usable in it.
    """
    surveyed, source = ray.remote(_survey).options(num_returns=2).remote(settings)
    return dataclasses.replace(_get(surveyed), source=source)


def surveyed(source: Source) -> Survey:
    """Of a source that this process has opened. Ray is running."""
    return Survey(source.state, source.splits, source.classes, source.notes, ray.put(source))


def make_pool(
    run: Run, survey: Survey, name: str, rows_per_file: int, files: str, known: pa.Array | None = None
) -> PoolManifest:
    """Read every image, assign ids, and write the pool's files below ``files``.

    Args:
        known: sha256 of images that an archive has already: they are read and left out. The pool may be empty then.

    Raises:
        InputError: not one image can be read.
    """
    job, source, say = _Job(run.store, files, survey.source, rows_per_file), run.config.ingest.source, run.log
    say(f"reading {', '.join(f'{count} {split}' for split, count in survey.splits.items())} images of {source}")
    shape = _get(ray.remote(_shape).remote(job.source))
    sizes = _sizes(shape, job.rows_per_file, sum(survey.splits.values()))
    receipts = _stage_all(job, survey.splits, sizes, shape, say)
    settled_ref, positions_ref = ray.remote(_settle).options(num_returns=2).remote(job, receipts, shape, known)
    settled = _get(settled_ref)
    if any(settled.splits.values()):
        _write_all(job, settled.splits, positions_ref, sizes, shape, say)
    job.store.delete_folder(job.files.staged)
    if known is None:
        _say_outcome(job, settled, shape, say, all_pages=source.startswith("folder:"))
    return PoolManifest(
        name=name,
        source=source,
        folder=job.folder,
        size=settled.splits["train"],
        height=shape[0],
        width=shape[1],
        channels=shape[2],
        splits=settled.splits,
        classes=survey.classes,
        duplicates=settled.duplicates,
        rejected=settled.rejected,
        fingerprint=settled.fingerprint,
        layout=sizes.layout,
    )


def _get(ref: Any) -> Any:
    return bad_input_as_itself(lambda: ray.get(ref))


def _say_outcome(job: _Job, settled: _Settled, shape: Shape, say: Callable[[str], None], all_pages: bool) -> None:
    say(f"{counted(settled.splits['train'], 'image')} of {' x '.join(map(str, shape))} in {job.store.show(job.folder)}")
    for count, what, name in (
        (settled.duplicates, "left out as exact duplicates", job.files.duplicates),
        (settled.rejected, "left out, since they could not be read", job.files.rejected),
    ):
        if count:
            say(f"{count} {'image' if count == 1 else 'images'} {what}: {job.store.show(name)}")
    if settled.paged:
        more = "; ingest.pages=all reads all" if all_pages else ""
        say(f"files with several pages or frames, read for the first only: {settled.paged}{more}")


def _sizes(shape: Shape, rows_per_file: int, images: int) -> Sizes:
    """Pieces are small enough that every CPU gets some."""
    sizes = Sizes.of(shape, rows_per_file)
    share = -(-images // (_PIECES_PER_CPU * int(ray.cluster_resources().get("CPU", 1))))
    return dataclasses.replace(sizes, staged=min(sizes.staged, max(_LEAST_PIECE, share)))


def _stage_all(
    job: _Job, splits: dict[str, int], sizes: Sizes, shape: Shape, say: Callable[[str], None]
) -> list[ray.ObjectRef[pa.Table]]:
    """First pass; references to the receipts."""
    pieces = _get(ray.remote(_pieces).remote(job.source, list(splits), sizes.staged))
    items = ray.data.from_items(pieces, override_num_blocks=len(pieces))
    staged = items.map_batches(_stage, batch_size=1, fn_kwargs={"job": job, "sizes": sizes, "shape": shape})
    return bad_input_as_itself(lambda: list(blocks(staged, "read", sum(splits.values()), say)))


def _write_all(
    job: _Job, splits: dict[str, int], positions: Any, sizes: Sizes, shape: Shape, say: Callable[[str], None]
) -> None:
    """Second pass: one task a file."""
    files = [
        {"split": split, "first": first, "stop": min(first + sizes.file, count)}
        for split, count in splits.items()
        for first in range(0, count, sizes.file)
    ]
    items = ray.data.from_items(files, override_num_blocks=len(files))
    write = {"job": job, "positions": positions, "sizes": sizes, "shape": shape}
    bad_input_as_itself(
        lambda: follow(items.map_batches(_write_pool_files, batch_size=1, fn_kwargs=write), "write", len(files), say)
    )


# ---- in the workers ----------------------------------------------------------------------


def _survey(config: IngestConfig) -> tuple[Survey, Source]:
    source = open_images(config)
    return Survey(source.state, source.splits, source.classes, source.notes), source


def _shape(source: Source) -> Shape:
    return source.shape()


def _pieces(source: Source, splits: list[str], rows: int) -> list[dict[str, Any]]:
    return [
        {"split": split, "start": start, "stop": stop} for split in splits for start, stop in source.pieces(split, rows)
    ]


def _stage(batch: dict[str, Any], job: _Job, sizes: Sizes, shape: Shape) -> Iterator[pa.Table]:
    source = ray.get(job.source)
    for split, start, stop in zip(
        batch["split"].tolist(), batch["start"].tolist(), batch["stop"].tolist(), strict=True
    ):
        for piece in source.read(split, start, stop, sizes.staged, shape):
            yield stage(job.store, job.files, split, piece, sizes.staged, shape)


def _settle(
    job: _Job, receipt_refs: list[ray.ObjectRef[pa.Table]], shape: Shape, known: pa.Array | None
) -> tuple[_Settled, dict[str, Any]]:
    """Assign ids; write labels and what is left out. Returns the outcome, and positions by id for each split."""
    source = ray.get(job.source)
    receipts = pa.concat_tables(ray.get(receipt_refs))
    reasons = rejected(receipts)
    keys = source.keys("train", reasons["position"].to_numpy())
    if reasons.num_rows:
        _write_csv(job.store, job.files.rejected, REJECTED_COLUMNS, keys, reasons["reason"].to_pylist())
    samples = {split: accepted(receipts, split, known) for split in source.splits}
    if isinstance(source, FolderSource):
        what = catalogue(receipts, source.listing, samples["train"])
        job.store.write_table(job.files.catalogue, what)
    if samples["train"].num_rows == 0 and known is None:
        raise InputError(
            f"None of {counted(len(keys), 'image')} can be read (first: '{keys[0]}': {reasons['reason'][0]}); "
            "check the source."
        )
    for split, table in samples.items():
        labels = label_table(source, split, table["position"])
        if labels is not None:
            job.store.write_table(job.files.labels(split), labels)
    duplicates = source.splits["train"] - reasons.num_rows - samples["train"].num_rows
    if duplicates and known is None:  # else the archive says what is a copy of what
        copies = repeated(receipts)
        assert copies.num_rows == duplicates
        both = [source.keys("train", copies[name].to_numpy()) for name in ("position", "first")]
        _write_csv(job.store, job.files.duplicates, DUPLICATES_COLUMNS, *both)
    settled = _Settled(
        splits={split: table.num_rows for split, table in samples.items()},
        duplicates=duplicates,
        rejected=reasons.num_rows,
        paged=pc.sum(receipts["paged"]).as_py() or 0,
        fingerprint=pool_fingerprint(samples["train"], shape),
    )
    return settled, {split: table["position"] for split, table in samples.items()}


def _write_csv(store: Location, name: str, header: tuple[str, ...], *columns: list[str]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(zip(*columns, strict=True))
    store.write_bytes(name, text.getvalue().encode())


def _write_pool_files(batch: dict[str, Any], job: _Job, positions: Any, sizes: Sizes, shape: Shape) -> dict[str, Any]:
    all_positions = ray.get(positions)
    for split, first, stop in zip(
        batch["split"].tolist(), batch["first"].tolist(), batch["stop"].tolist(), strict=True
    ):
        rows = all_positions[split].slice(first, stop - first)
        write_pool_file(job.store, job.files, split, rows, first, sizes, shape)
    return {"first": batch["first"]}
