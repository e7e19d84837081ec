"""Features that somebody brings: in any order, by key or by row; what is wrong with them is named by key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.artifacts import Float32, PoolManifest
from pipeline.data.given import digest_of, given_features
from pipeline.errors import InputError

KEYS = ("a.png", "b/c.png", "d.png", "e.png")
VECTORS = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
UNIT = VECTORS / np.linalg.norm(VECTORS, axis=1, keepdims=True)


class Reader:
    """As much of a ``PoolReader`` as is asked for."""

    def __init__(self, keys: tuple[str, ...] = KEYS, duplicates: int = 0) -> None:
        splits = {"train": len(keys), "test": len(keys)}
        self.manifest = PoolManifest("p", "s", "pools/p", len(keys), 8, 8, 1, splits, None, duplicates, 0, "f")
        self._keys = keys

    def keys(self, ids: np.ndarray, split: str = "train") -> pa.ChunkedArray:
        """Of the samples."""
        return pa.chunked_array([pa.array([self._keys[int(each)] for each in ids], pa.large_string())])


def found(file: Path, split: str = "train", reader: Reader | None = None) -> Float32:
    """The features that are read."""
    return given_features(str(file), reader or Reader(), split)  # type: ignore[arg-type]


def table(file: Path, keys: list[str], vectors: np.ndarray, **more: list[str]) -> Path:
    """A Parquet file of keys and vectors."""
    pq.write_table(pa.table({"key": keys, "vector": [list(map(float, each)) for each in vectors], **more}), file)
    return file


def test_a_table_in_any_order_with_keys_of_other_images(tmp_path: Path) -> None:
    rows = [2, 0, 3, 1]
    keys = [KEYS[row] for row in rows] + ["other.png"]
    file = table(tmp_path / "f.parquet", keys, np.concatenate([VECTORS[rows], [[1, 2, 3]]]))
    np.testing.assert_allclose(found(file), UNIT, atol=1e-6)


def test_a_column_of_fixed_lists_and_another_name(tmp_path: Path) -> None:
    column = pa.FixedSizeListArray.from_arrays(pa.array(VECTORS.ravel()), 3)
    pq.write_table(pa.table({"image": list(KEYS), "embedding": column}), tmp_path / "f.parquet")
    np.testing.assert_allclose(found(tmp_path / "f.parquet"), UNIT, atol=1e-6)


def test_a_table_with_splits(tmp_path: Path) -> None:
    keys, splits = [*KEYS, *KEYS], ["train"] * 4 + ["test"] * 4
    file = table(tmp_path / "f.parquet", keys, np.concatenate([VECTORS, -VECTORS]), split=splits)
    np.testing.assert_allclose(found(file), UNIT, atol=1e-6)
    np.testing.assert_allclose(found(file, "test"), -UNIT, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_an_array_in_the_pools_order(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "f.npy", VECTORS.astype(dtype))
    np.testing.assert_allclose(found(tmp_path / "f.npy"), UNIT, atol=2e-3)


def test_an_archive_with_a_test_split(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", train=VECTORS, test_features=-VECTORS)
    np.testing.assert_allclose(found(tmp_path / "f.npz", "test"), -UNIT, atol=1e-6)


def test_an_array_in_the_archives_order_where_the_pool_left_duplicates_out(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", VECTORS)
    reader = Reader(("0", "2", "3"), duplicates=1)
    np.testing.assert_allclose(found(tmp_path / "f.npy", reader=reader), UNIT[[0, 2, 3]], atol=1e-6)


NAN = VECTORS.copy()
NAN[1, 2] = np.nan
CONSTANT = VECTORS.copy()
CONSTANT[3] = 7


@pytest.mark.parametrize(
    ("keys", "vectors", "words"),
    [
        (KEYS[:3], VECTORS[:3], "has no vector for 1 of 4 images: 'e.png'; mend the file."),
        ((), VECTORS[:0], "has no vector for 4 of 4 images: 'a.png', 'b/c.png', 'd.png', 'e.png'; mend the file."),
        ((*KEYS, "a.png"), VECTORS[[0, 1, 2, 3, 0]], "has more than one vector for 1 of 4 images: 'a.png'"),
        (KEYS, NAN, "has numbers that are not finite for 1 of 4 images: 'b/c.png'"),
        (KEYS, CONSTANT, "has a constant vector, which says nothing, for 1 of 4 images: 'e.png'"),
    ],
)
def test_vectors_that_are_wrong_are_named(
    keys: tuple[str, ...], vectors: np.ndarray, words: str, tmp_path: Path
) -> None:
    file = table(tmp_path / "f.parquet", list(keys), vectors)
    if not keys:
        pq.write_table(
            pq.read_table(file).cast(pa.schema([("key", pa.string()), ("vector", pa.list_(pa.float64()))])), file
        )
    with pytest.raises(InputError) as refused:
        found(file)
    assert words in str(refused.value)


def test_many_keys_are_counted(tmp_path: Path) -> None:
    reader = Reader(tuple(f"{number}.png" for number in range(9)))
    file = table(tmp_path / "f.parquet", ["0.png"], VECTORS[:1])
    with pytest.raises(InputError, match=r"for 8 of 9 images: '1.png', .*'5.png' and 3 more; mend the file"):
        found(file, reader=reader)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "f.parquet").write_bytes(b"no table")
    (tmp_path / "f.npy").write_bytes(b"no array")
    np.save(tmp_path / "g.npy", VECTORS[:2])
    np.save(tmp_path / "h.npy", np.array(["a", "b"]))
    pq.write_table(pa.table({"key": ["a"], "x": [1.0]}), tmp_path / "g.parquet")
    np.savez(tmp_path / "f.npz", other=VECTORS)
    for name, words in {
        "f.parquet": "cannot be read as Parquet",
        "f.npy": "cannot be read as a NumPy array",
        "g.npy": "has 2 vectors, and the pool 'p' has 4 images",
        "h.npy": "features are numbers of shape",
        "g.parquet": "should have one column of keys, called key, and one of lists",
        "f.npz": "has the arrays other; name one train",
        "missing.npy": "There is no file of features",
    }.items():
        with pytest.raises(InputError, match=words):
            found(tmp_path / name)


def test_vectors_of_several_lengths(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"key": list(KEYS), "vector": [[1.0, 2], [3.0, 4], [5.0], [6.0, 7]]}), tmp_path / "f.parquet"
    )
    with pytest.raises(InputError, match="has vectors of 1, 2 numbers"):
        found(tmp_path / "f.parquet")


def test_the_digest_is_of_the_content(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VECTORS)
    np.save(tmp_path / "b.npy", VECTORS)
    np.save(tmp_path / "c.npy", VECTORS + 1)
    digests = [digest_of(str(tmp_path / f"{name}.npy")) for name in "abc"]
    assert digests[0] == digests[1] != digests[2]
