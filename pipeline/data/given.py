"""Features that somebody brings: one vector an image, in a Parquet table or a NumPy array.

N = samples, D = dimensions.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.artifacts import Float32, PoolManifest
from pipeline.data.pool import PoolReader
from pipeline.errors import InputError
from pipeline.storage import Location

SUFFIXES = (".parquet", ".npy", ".npz")
_NAMED = 5
"""Most keys that a sentence names."""
_READ_AT_ONCE = 1 << 20


def is_given(features: str) -> bool:
    """Whether ``embed.features`` names a file of features."""
    return features.endswith(SUFFIXES)


def place_of(file: str) -> tuple[Location, str]:
    """The folder and the name of a file of features.

    Raises:
        InputError: it is not there.
    """
    path = file if file.startswith("s3://") else os.path.abspath(os.path.expanduser(file))
    folder, _, name = path.rpartition("/")
    location = Location(folder or "/")
    if not location.is_file(name):
        raise InputError(f"There is no file of features '{file}'; check --features.")
    return location, name


def digest_of(file: str) -> str:
    """SHA-256 of the file."""
    location, name = place_of(file)
    found = hashlib.sha256()
    with location.open(name) as source:
        while part := source.read(_READ_AT_ONCE):
            found.update(part)
    return found.hexdigest()


def given_features(file: str, reader: PoolReader, split: str = "train") -> Float32:
    """(N, D) float32 of unit norm, in ``sample_id`` order.

    A Parquet table has a column of keys and one of vectors, in any order, and perhaps a column ``split``. An array has
    the pool's order, or the order of the archive that the pool was made from. An .npz names its array ``train`` or
    ``test``, or ``features`` where there is only the pool.

    Raises:
        InputError: not such a file; or vectors that are missing, repeated, not finite, or constant. Names the keys.
    """
    location, name = place_of(file)
    keys = reader.keys(np.arange(reader.manifest.splits[split]), split)
    with location.reading(name) as path:
        if name.endswith(".parquet"):
            features = _by_key(_table(path, file, split), keys, file)
        else:
            features = _in_order(_array(path, file, split), keys, reader.manifest, file)
    _refuse(~np.all(np.isfinite(features), axis=1), keys, f"'{file}' has numbers that are not finite for")
    constant = np.all(features == features[:, :1], axis=1)
    _refuse(constant, keys, f"'{file}' has a constant vector, which says nothing, for")
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def _table(path: Path, file: str, split: str) -> pa.Table:
    """Columns key and vector."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"'{file}' cannot be read as Parquet ({error}); check --features.") from None
    types = dict(zip(table.column_names, table.schema.types, strict=True))
    vectors = [name for name, kind in types.items() if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind)]
    texts = [name for name, kind in types.items() if pa.types.is_string(kind) or pa.types.is_large_string(kind)]
    keys = ["key"] if "key" in types else [name for name in texts if name != "split"]
    if len(vectors) != 1 or len(keys) != 1:
        raise InputError(
            f"'{file}' should have one column of keys, called key, and one of lists of numbers; it has "
            f"{', '.join(f'{name} ({kind})' for name, kind in types.items())}."
        )
    if "split" in types:
        table = table.filter(pc.equal(table["split"], split))
    elif split != "train":
        raise InputError(f"'{file}' has no column 'split', so no features of the {split} split; add it.")
    return pa.table({"key": table[keys[0]].cast(pa.large_string()), "vector": table[vectors[0]]})


def _by_key(table: pa.Table, keys: pa.ChunkedArray, file: str) -> Float32:
    row_of = pc.index_in(table["key"], pc.unique(keys))
    known = table.filter(pc.is_valid(row_of))
    rows = np.asarray(pc.drop_null(row_of))
    times = np.bincount(rows, minlength=len(keys))
    _refuse(times == 0, keys, f"'{file}' has no vector for")
    _refuse(times > 1, keys, f"'{file}' has more than one vector for")
    vectors = known["vector"].combine_chunks()
    lengths = np.unique(np.asarray(pc.list_value_length(vectors)))
    if len(lengths) != 1 or not lengths[0]:
        raise InputError(f"'{file}' has vectors of {', '.join(map(str, lengths[:_NAMED]))} numbers; give all the same.")
    found = np.empty((len(keys), int(lengths[0])), np.float32)
    found[rows] = np.asarray(vectors.flatten(), np.float32).reshape(len(rows), -1)
    return found


def _array(path: Path, file: str, split: str) -> np.ndarray[Any, Any]:
    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError, BadZipFile, EOFError) as error:
        raise InputError(f"'{file}' cannot be read as a NumPy array ({error}); check --features.") from None
    if isinstance(loaded, np.ndarray):
        if split != "train":
            raise InputError(f"'{file}' holds the pool's features alone; an .npz can hold train and {split}.")
        return loaded
    names = [
        name for name in (split, f"{split}_features", *(["features"] if split == "train" else [])) if name in loaded
    ]
    if not names:
        raise InputError(f"'{file}' has the arrays {', '.join(loaded.files)}; name one {split}.")
    return np.asarray(loaded[names[0]])


def _in_order(array: np.ndarray[Any, Any], keys: pa.ChunkedArray, pool: PoolManifest, file: str) -> Float32:
    if array.ndim != 2 or array.dtype.kind not in "fiu" or not array.shape[1]:
        raise InputError(f"'{file}' holds {array.dtype} of shape {array.shape}; features are numbers of shape (N, D).")
    if len(array) != len(keys):
        numbers = pc.all(pc.match_substring_regex(keys, "^[0-9]+$")).as_py()
        rows = np.asarray(pc.cast(keys, pa.int64())) if numbers else None
        if (
            rows is None
            or len(array) <= rows.max(initial=0)
            or len(array) != len(keys) + pool.duplicates + pool.rejected
        ):
            raise InputError(
                f"'{file}' has {len(array)} vectors, and the pool '{pool.name}' has {len(keys)} images; give one each, "
                "or a Parquet table with keys."
            )
        array = array[rows]  # the archive's own order, with what the pool left out
    return np.asarray(array, np.float32)


def _refuse(bad: NDArray[np.bool_], keys: pa.ChunkedArray, words: str) -> None:
    """Raise InputError where ``bad`` (N,) is true of a sample; names the first keys."""
    rows = np.flatnonzero(bad)
    if len(rows):
        named = ", ".join(f"'{keys[int(row)].as_py()}'" for row in rows[:_NAMED])
        more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
        raise InputError(f"{words} {len(rows)} of {len(keys)} images: {named}{more}; mend the file.")
