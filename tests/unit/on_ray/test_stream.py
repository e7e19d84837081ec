"""What a streaming epoch opens grows as the pool; without Ray, each task as Ray would run it: with a reader anew."""

from __future__ import annotations

import pickle  # noqa: TID251 (as Ray sends it to a worker; nothing is read from storage so)
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.artifacts import PoolManifest, image_column, images_of, pool_schema
from pipeline.data.pool import PoolReader
from pipeline.data.sampler import BLOCK, Sampler
from pipeline.data.worker_messages import Share
from pipeline.on_ray.stream import read_images, requests
from pipeline.storage import Location

pytestmark = pytest.mark.slow

SHAPE, ROWS = (1, 2, 3), 64


def _pool(store: Location, files: int) -> tuple[PoolManifest, np.ndarray]:
    images = np.random.default_rng(0).integers(0, 256, (files * ROWS, *SHAPE), np.uint8)
    for part in np.array_split(np.arange(len(images)), files):
        columns = [part, [str(i) for i in part], [bytes(32)] * len(part), image_column(images[part])]
        store.write_table(f"pool/train/{part[0]:06}.parquet", pa.table(columns, schema=pool_schema(*SHAPE)))
    return PoolManifest("p", "test", "pool", len(images), *SHAPE, {"train": len(images)}, None, 0, 0, ""), images


@pytest.mark.parametrize("files", [4, 8, 16])
def test_tasks_open_only_the_files_of_their_images(tmp_path: Path, files: int, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Location(str(tmp_path))
    manifest, images = _pool(store, files)
    opened: list[str] = []
    real = PoolReader._open

    def counted(self: PoolReader, file: str) -> pq.ParquetFile:
        opened.append(file)
        return real(self, file)

    monkeypatch.setattr(PoolReader, "_open", counted)
    reader = PoolReader(store, manifest)
    tasks = requests(reader, np.arange(len(images)), most=ROWS)
    assert len(tasks) == files
    assert len(opened) == files  # their footers, once
    for each in tasks:
        found = read_images(*pickle.loads(pickle.dumps((each, PoolReader(store, manifest)))))
        assert (images_of(found["image"], *SHAPE) == images[np.asarray(found["sample_id"])]).all()
    assert len(opened) == 2 * files


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
@pytest.mark.parametrize("most", [10, 100, 10_000])
def test_all_workers_together_read_a_row_group_once_a_repeat(tmp_path: Path, workers: int, most: int) -> None:
    store, groups = Location(str(tmp_path)), 96
    reader = PoolReader(store, _pool(store, groups)[0])
    sampler = Sampler(groups * ROWS, repeats=2, batch_size=64, seed=0, window=2 * BLOCK)
    windows = [ids for _, ids in sampler.drawn(0)]
    assert len(windows) == 2 * 3
    shares = [Share.of(ids, workers, worker).ids for ids in windows for worker in range(workers)]
    read = [each for share in shares for each in requests(reader, share, most)]
    # Once more only where two workers' shares of a window meet within a row group.
    assert 2 * groups <= sum(len(each["groups"][0]) for each in read) <= 2 * groups + len(windows) * (workers - 1)
    ids = [np.asarray(each["sample_id"].combine_chunks().flatten()) for each in read]
    assert np.array_equal(np.concatenate(ids), np.concatenate(shares))
    assert np.array_equal(np.sort(np.concatenate(ids)), np.repeat(np.arange(groups * ROWS), 2))
    assert all(0 < len(each) < most + ROWS for each in ids)


def test_where_nobody_knows_the_row_groups_tasks_are_small_too(tmp_path: Path) -> None:
    store = Location(str(tmp_path))
    manifest, images = _pool(store, 4)
    files = sorted((tmp_path / "pool/train").iterdir())
    table = pa.concat_tables([pq.read_table(file) for file in files])
    shuffled = table.take(np.random.default_rng(0).permutation(len(table)))
    for number, file in enumerate(files):
        pq.write_table(shuffled.slice(number * ROWS, ROWS), file, row_group_size=ROWS // 2, write_statistics=number > 1)
    tasks = requests(PoolReader(store, manifest), np.arange(len(images)), most=10)
    found = [read_images(each, PoolReader(store, manifest)) for each in tasks]
    assert max(len(each) for each in found) <= 2 * 10
    read = pa.concat_tables(found)
    assert np.array_equal(read["sample_id"], np.arange(len(images)))
    assert (images_of(read["image"], *SHAPE) == images).all()


def test_a_share_of_nothing_is_asked_of_nobody(tmp_path: Path) -> None:
    store = Location(str(tmp_path))
    assert requests(PoolReader(store, _pool(store, 1)[0]), np.empty(0, np.int64), most=10) == []
