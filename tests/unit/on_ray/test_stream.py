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
from pipeline.on_ray.stream import read_images, request
from pipeline.storage import Location

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
    requests = [request(reader, ids) for ids in np.array_split(np.arange(len(images)), files)]
    assert len(opened) == files  # their footers, once
    for each in requests:
        found = read_images(*pickle.loads(pickle.dumps((each, PoolReader(store, manifest)))))
        assert (images_of(found["image"], *SHAPE) == images[np.asarray(found["sample_id"])]).all()
    assert len(opened) == 2 * files
