"""Ids, files and the reader, against the arrays that went in; no Ray."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.artifacts import PoolFiles, PoolManifest, image_column, pool_schema
from pipeline.data.pool import PoolReader
from pipeline.data.sampler import BLOCK
from pipeline.data.sources import ArraySource, Decoded, MemoryStack
from pipeline.data.staging import (
    Sizes,
    accepted,
    label_table,
    pool_fingerprint,
    rejected,
    repeated,
    stage,
    write_pool_file,
)
from pipeline.storage import Location
from tests.reading import all_images

RNG = np.random.default_rng(0)
SHAPE = (4, 3, 3)
SIZES = Sizes(staged=7, file=16, group=5)
FILES = PoolFiles("p")


def digest(image: np.ndarray) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()


def ingest_by_hand(store: Location, images: np.ndarray, labels: np.ndarray | None = None) -> PoolManifest:
    """Both passes as ``on_ray.ingest`` runs them, one after the other; the receipts come in another order."""
    label_numbers = {} if labels is None else {"train": labels.astype(np.int32)}
    source = ArraySource({"train": MemoryStack(images)}, "state", label_numbers)
    pieces = list(source.read("train", 0, len(images), SIZES.staged, SHAPE))
    receipts = pa.concat_tables([stage(store, FILES, "train", piece, SIZES.staged, SHAPE) for piece in pieces[::-1]])
    samples = accepted(receipts, "train")
    for first in range(0, len(samples), SIZES.file):
        rows = samples["position"].slice(first, SIZES.file)
        write_pool_file(store, FILES, "train", rows, first, SIZES, SHAPE)
    table = label_table(source, "train", samples["position"])
    if table is not None:
        store.write_table(FILES.labels("train"), table)
    size, pixels = len(samples), pool_fingerprint(samples, SHAPE)
    return PoolManifest("p", "test", "p", size, *SHAPE, {"train": size}, None, 0, 0, pixels, SIZES.layout)


def without_layout(manifest: PoolManifest) -> PoolManifest:
    """What a reader can still know from the files."""
    return dataclasses.replace(manifest, layout=None)


@pytest.fixture
def images() -> np.ndarray:
    return RNG.integers(0, 256, (50, *SHAPE), np.uint8)


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    if request.param == "local":
        return Location(str(tmp_path))
    make_bucket: Callable[[], str] = request.getfixturevalue("make_bucket")
    return Location(f"s3://{make_bucket()}/store")


@pytest.mark.parametrize("known", [True, False], ids=["layout stated", "layout found"])
@pytest.mark.parametrize("few", [1, 64], ids=["ids sorted", "ids marked in the pool"])
def test_what_goes_in_comes_out(
    store: Location, images: np.ndarray, few: int, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.data.pool._FEW", few)
    labels = RNG.integers(-1, 4, 50)
    manifest = ingest_by_hand(store, images, labels)
    reader = PoolReader(store, manifest if known else without_layout(manifest))
    assert (all_images(reader) == images).all()
    ids = np.array([49, 0, 17, 17, 3, 48])
    assert (reader.images(ids) == images[ids]).all()
    assert reader.keys(ids).to_pylist() == ["49", "0", "17", "17", "3", "48"]
    # Of 100 million samples there are more than 2 GiB, where 32-bit offsets end (docs/dev/log.md).
    assert reader.keys(ids).type == pa.large_string()
    assert reader.images(np.array([], np.int64)).shape == (0, *SHAPE)
    found = reader.labels()
    assert found is not None
    assert found.tolist() == labels.tolist()
    assert (copy.deepcopy(reader).images(ids) == images[ids]).all()  # by the protocol that Ray uses too


def test_digests_come_in_id_order(store: Location, images: np.ndarray) -> None:
    assert PoolReader(store, ingest_by_hand(store, images)).digests() == [digest(image) for image in images]


def test_pools_without_labels(tmp_path: Path, images: np.ndarray) -> None:
    store = Location(str(tmp_path))
    assert PoolReader(store, ingest_by_hand(store, images)).labels() is None


def test_files_and_row_groups_are_small_and_sorted(tmp_path: Path, images: np.ndarray) -> None:
    store = Location(str(tmp_path))
    ingest_by_hand(store, images, np.zeros(50))
    files = sorted((tmp_path / "p" / "train").iterdir())
    tables = [pq.read_table(file) for file in files]
    assert [len(table) for table in tables] == [16, 16, 16, 2]
    assert [pq.ParquetFile(files[0]).metadata.row_group(i).num_rows for i in range(4)] == [5, 5, 5, 1]
    assert pa.concat_tables(tables)["sample_id"].to_pylist() == list(range(50))
    assert pa.concat_tables(tables)["sha256"].to_pylist() == [digest(image) for image in images]
    # Nothing in the pool's own files tells a label.
    assert tables[0].column_names == ["sample_id", "key", "sha256", "image"]


def test_row_order_has_no_consequence(tmp_path: Path, images: np.ndarray) -> None:
    store = Location(str(tmp_path))
    manifest = ingest_by_hand(store, images, np.arange(50) % 3)
    everything = pa.concat_tables([pq.read_table(file) for file in (tmp_path / "p" / "train").iterdir()])
    for file in (tmp_path / "p" / "train").iterdir():
        file.unlink()
    shuffled = everything.take(RNG.permutation(50))
    for number, (start, stop) in enumerate([(30, 50), (0, 30)]):
        pq.write_table(
            shuffled.slice(start, stop - start),
            tmp_path / "p" / "train" / f"x-{number}.parquet",
            row_group_size=7,
            write_statistics=number == 0,  # without statistics every row group has to be looked at
        )
    labels = tmp_path / "p" / "labels" / "train.parquet"
    pq.write_table(pq.read_table(labels).take(RNG.permutation(50)), labels)
    reader = PoolReader(store, without_layout(manifest))
    assert (all_images(reader) == images).all()
    assert (reader.images(np.array([40, 2, 33])) == images[[40, 2, 33]]).all()
    assert reader.keys(np.array([40, 2, 33])).to_pylist() == ["40", "2", "33"]
    found = reader.labels()
    assert found is not None
    assert found.tolist() == [i % 3 for i in range(50)]


@pytest.mark.parametrize("known", [True, False], ids=["layout stated", "layout found"])
def test_only_row_groups_that_are_needed_are_read(
    tmp_path: Path, images: np.ndarray, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Location(str(tmp_path))
    manifest = ingest_by_hand(store, images)
    reader = PoolReader(store, manifest if known else without_layout(manifest))
    read: list[list[int]] = []
    real = pq.ParquetFile.read_row_groups

    def counted(self: pq.ParquetFile, numbers: list[int], columns: list[str]) -> pa.Table:
        read.append(numbers)
        return real(self, numbers, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counted)
    reader.images(np.array([0, 7, 8, 41]))
    assert read == [[0], [1], [1]]  # ids 0 .. 4 and 5 .. 9 of the first file, 37 .. 41 of the third
    read.clear()
    reader.keys(np.array([0, 7, 8, 41]))
    assert read == [[0, 1], [1]]


@pytest.mark.parametrize("ids", [[-1], [0, 50]])
def test_ids_that_are_not_there(tmp_path: Path, images: np.ndarray, ids: list[int]) -> None:
    store = Location(str(tmp_path))
    reader = PoolReader(store, ingest_by_hand(store, images))
    with pytest.raises(ValueError, match=r"ids 0 \.\. 49, asked for"):
        reader.images(np.array(ids))


def test_duplicates_are_kept_once_the_first_of_them(tmp_path: Path, images: np.ndarray) -> None:
    store = Location(str(tmp_path))
    doubled = images.copy()
    doubled[[20, 33, 49]] = images[[3, 3, 32]]
    labels = np.arange(50)
    reader = PoolReader(store, ingest_by_hand(store, doubled, labels))
    kept = [i for i in range(50) if i not in (20, 33, 49)]
    assert reader.keys(np.arange(47)).to_pylist() == [str(i) for i in kept]
    assert (all_images(reader) == images[kept]).all()
    found = reader.labels()
    assert found is not None
    assert found.tolist() == kept


def test_rejected_leave_no_gap_and_splits_keep_duplicates(tmp_path: Path, images: np.ndarray) -> None:
    store = Location(str(tmp_path))
    same = np.stack([images[0]] * 3)
    digests = [digest(image) for image in same]
    piece = Decoded(np.array([0, 2, 3]), ["a", "c", "d"], digests, same, [(4, "empty"), (1, "damaged")])
    receipts = pa.concat_tables([stage(store, FILES, split, piece, 7, SHAPE) for split in ("val", "train")])
    assert accepted(receipts, "train")["position"].to_pylist() == [0]
    assert repeated(receipts).to_pylist() == [{"position": 2, "first": 0}, {"position": 3, "first": 0}]
    assert accepted(receipts, "val")["position"].to_pylist() == [0, 2, 3]
    of_train = rejected(receipts.filter(pa.compute.field("split") == "train"))
    assert of_train.to_pylist() == [{"position": 1, "reason": "damaged"}, {"position": 4, "reason": "empty"}]


def test_the_fingerprint_is_the_pixels_in_order(tmp_path: Path, images: np.ndarray) -> None:
    first = ingest_by_hand(Location(str(tmp_path / "a")), images)
    assert ingest_by_hand(Location(str(tmp_path / "b")), images).fingerprint == first.fingerprint
    assert ingest_by_hand(Location(str(tmp_path / "c")), images[::-1]).fingerprint != first.fingerprint
    assert PoolManifest.from_dict(json.loads(json.dumps(first.to_dict()))) == first
    older = {name: value for name, value in first.to_dict().items() if name != "layout"}
    assert PoolManifest.from_dict(older) == without_layout(first)


@pytest.mark.parametrize("rows", [1, 600, 16_384])
@pytest.mark.parametrize("shape", [(28, 28, 1), (64, 64, 3), (224, 224, 3), (512, 512, 3), (4000, 4000, 3)])
def test_sizes_bound_what_is_held(shape: tuple[int, int, int], rows: int) -> None:
    sizes, image = Sizes.of(shape, rows), int(np.prod(shape))
    assert 1 <= sizes.group <= sizes.file <= rows
    assert BLOCK % sizes.group == sizes.file % sizes.group == 0  # no row group lies in two of the sampler's blocks
    for held, limit in ((sizes.staged, 32 << 20), (sizes.file, 128 << 20), (sizes.group, 8 << 20)):
        assert held * image <= max(limit, image)


@pytest.mark.parametrize(("size", "sizes"), [(50, SIZES), (48, SIZES), (7, SIZES), (9, Sizes(9, 3, 4))])
def test_the_layout_says_what_the_footers_say(tmp_path: Path, size: int, sizes: Sizes) -> None:
    store = Location(str(tmp_path))
    for number, first in enumerate(range(0, size, sizes.file)):
        ids = np.arange(first, min(first + sizes.file, size))
        pixels = image_column(np.zeros((len(ids), *SHAPE), np.uint8))
        table = pa.table([ids, [""] * len(ids), [bytes(32)] * len(ids), pixels], schema=pool_schema(*SHAPE))
        (tmp_path / "p/train").mkdir(parents=True, exist_ok=True)
        pq.write_table(table, tmp_path / FILES.part("train", number), row_group_size=sizes.group)
    manifest = PoolManifest("p", "test", "p", size, *SHAPE, {"train": size}, None, 0, 0, "", sizes.layout)
    stated, found = PoolReader(store, manifest), PoolReader(store, without_layout(manifest))
    for chosen in (np.arange(size), np.arange(0), np.array([size - 1, 0, 0]), RNG.integers(0, size, 6)):
        assert stated.row_groups_with(chosen) == found.row_groups_with(chosen)


@pytest.mark.parametrize("rows", [1, 7, 50], ids=["more row groups than stated", "others", "fewer"])
def test_files_that_were_written_anew_are_read_by_their_footers(tmp_path: Path, images: np.ndarray, rows: int) -> None:
    store = Location(str(tmp_path))
    manifest = ingest_by_hand(store, images)
    for file in (tmp_path / "p/train").iterdir():
        table = pq.read_table(file)
        pq.write_table(table.take(RNG.permutation(len(table))), file, row_group_size=rows)
    reader, ids = PoolReader(store, manifest), np.array([40, 2, 33, 2])
    assert (reader.images(ids) == images[ids]).all()
    assert (reader.images(ids, groups=reader.row_groups_with(ids)) == images[ids]).all()
    assert reader.keys(ids).to_pylist() == [str(number) for number in ids]
    seen = np.concatenate([each for each, part in reader.row_groups() if (part == images[each]).all()])
    assert np.array_equal(np.sort(seen), np.arange(50))


def test_a_sample_that_is_nowhere_is_said(tmp_path: Path, images: np.ndarray) -> None:
    store = Location(str(tmp_path))
    manifest = ingest_by_hand(store, images)
    file = tmp_path / FILES.part("train", 1)
    pq.write_table(pq.read_table(file).slice(3), file)
    with pytest.raises(AssertionError, match="2 samples are not in p"):
        PoolReader(store, manifest).images(np.array([3, 16, 17, 30]))


@pytest.mark.parametrize("known", [True, False], ids=["layout stated", "layout found"])
def test_who_is_told_the_row_groups_opens_no_other_file(
    tmp_path: Path, images: np.ndarray, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Location(str(tmp_path))
    manifest = ingest_by_hand(store, images)
    manifest = manifest if known else without_layout(manifest)
    groups = PoolReader(store, manifest).row_groups_with(np.array([41, 7, 8, 8]))
    assert [(group.lowest, group.highest) for group in groups] == [(5, 9), (37, 41)]
    opened: list[str] = []
    real = PoolReader._open

    def counted(self: PoolReader, file: str) -> pq.ParquetFile:
        opened.append(file)
        return real(self, file)

    monkeypatch.setattr(PoolReader, "_open", counted)
    found = PoolReader(store, manifest).images(np.array([41, 7, 8, 8]), groups=groups)
    assert (found == images[[41, 7, 8, 8]]).all()
    told = ["p/train/part-00000.parquet", "p/train/part-00002.parquet"]  # of four
    assert opened == told
    PoolReader(store, manifest).images(np.array([41, 7, 8, 8]))
    # Where the layout is stated, who is not told opens no other either.
    assert len(opened) == len(told) + len(told) + (0 if known else 4)
