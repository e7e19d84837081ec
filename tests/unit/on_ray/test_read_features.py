"""Some samples' features, without reading all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.artifacts import embedding_schema
from pipeline.features import rows_of
from pipeline.storage import Location

FEATURES = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)


def test_features_are_read_only_where_a_wanted_sample_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.random.default_rng(1).permutation(100)
    column = pa.FixedSizeListArray.from_arrays(pa.array(FEATURES[ids].ravel()), 4)
    pq.write_table(pa.table([ids, column], schema=embedding_schema(4)), tmp_path / "0.parquet", row_group_size=10)
    read: list[int] = []
    real = pq.ParquetFile.read_row_group

    def counted(self: pq.ParquetFile, group: int, columns: list[str] | None = None) -> pa.Table:
        if columns is None:
            read.append(group)
        return real(self, group, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    wanted = np.sort(ids[[3, 71, 79]])
    found = rows_of(Location(str(tmp_path)), "0.parquet", pa.array(wanted)).sort_by("sample_id")
    assert read == [0, 7]
    assert found["sample_id"].to_pylist() == wanted.tolist()
    assert np.array_equal(np.array(found["features"].to_pylist(), np.float32), FEATURES[wanted])
    assert len(rows_of(Location(str(tmp_path)), "0.parquet", pa.array([100]))) == 0
