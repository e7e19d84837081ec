"""From decoded pieces to the pool's files, in two passes.

First every piece is staged as one Parquet file by *position*, and leaves receipts: (split, position,
sha256, reason, paged). When all receipts are there, rejected images and duplicates are known and the dense
``sample_id`` of all others is their place in position order. Then each pool file is written from the
few staged files that its positions lie in. So ids never depend on who finished when, and nothing is ever held
whole but the receipts: 53 bytes a sample, 425 while ids are settled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.artifacts import CATALOGUE_SCHEMA, LABEL_SCHEMA, Layout, PoolFiles, fingerprint, image_column, pool_schema
from pipeline.data.sampler import BLOCK
from pipeline.data.sources import Decoded, Shape, Source
from pipeline.storage import Location

RECEIPT_SCHEMA = pa.schema(
    [
        ("split", pa.string()),
        ("position", pa.int64()),
        ("sha256", pa.binary(32)),
        ("reason", pa.string()),
        ("paged", pa.bool_()),
    ]
)
"""``paged``: the file has further pages, which are not read."""
_STAGED_BYTES = 32 << 20
_FILE_BYTES = 128 << 20
_GROUP_BYTES = 8 << 20


@dataclass(frozen=True)
class Sizes:
    """How many rows go together, by the bytes of an image: what a worker holds does not grow with the pool."""

    staged: int
    """Images of one staged file."""
    file: int
    """Rows of one pool file: ``rows_per_file`` or fewer."""
    group: int
    """Rows of one Parquet row group, the least that a reader by id must read; a power of two, so that none is in two of
    the sampler's blocks."""

    @classmethod
    def of(cls, shape: Shape, rows_per_file: int) -> Sizes:
        """For images of ``shape``."""
        image = shape[0] * shape[1] * shape[2]
        file = max(1, min(rows_per_file, _FILE_BYTES // image))
        group = 1 << min(BLOCK, max(1, _GROUP_BYTES // image), file).bit_length() - 1
        return cls(staged=max(group, _STAGED_BYTES // image), file=file // group * group, group=group)

    @property
    def layout(self) -> Layout:
        """Of a pool that is written so."""
        return Layout(self.file, self.group)


def stage(store: Location, files: PoolFiles, split: str, piece: Decoded, rows: int, shape: Shape) -> pa.Table:
    """Write a piece's pixels to ``files.staged``; its receipts (columns of ``RECEIPT_SCHEMA``)."""
    everywhere = [*piece.position.tolist(), *(position for position, _ in piece.rejected)]
    columns = [pa.array(piece.position), pa.array(piece.key, pa.string()), pa.array(piece.sha256, pa.binary(32))]
    table = pa.table([*columns, image_column(piece.images)], schema=_staged_schema(shape))
    _write(store, files.piece(split, min(everywhere) // rows), table, len(table) or 1, "position", "lz4")
    reasons = [None] * len(piece.position) + [reason for _, reason in piece.rejected]
    digests = [*piece.sha256, *([None] * len(piece.rejected))]
    paged = np.isin(everywhere, piece.paged)
    return pa.table([[split] * len(everywhere), everywhere, digests, reasons, paged], schema=RECEIPT_SCHEMA)


def accepted(receipts: pa.Table, split: str, known: pa.Array | None = None) -> pa.Table:
    """(position, sha256) of the split's samples; a row's number is its ``sample_id``.

    Of the pool's exact duplicates (equal sha256) the first is kept; validation and test stay as they are.

    Args:
        known: sha256 of images that the archive has already, which are left out.
    """
    table = _readable(receipts, split)
    if known is not None:
        table = table.filter(pc.invert(pc.is_in(table["sha256"], value_set=known)))
    if split == "train":
        firsts = table.group_by("sha256").aggregate([("position", "min")])
        table = firsts.rename_columns({"position_min": "position"}).select(["position", "sha256"])
    return table.sort_by("position").combine_chunks()


def repeated(receipts: pa.Table) -> pa.Table:
    """(position, first) of the pool's samples that are left out as exact duplicates, and of what, in position order."""
    table = _readable(receipts, "train")
    firsts = table.group_by("sha256").aggregate([("position", "min"), ("position", "count")])
    several = firsts.filter(pc.field("position_count") > 1).rename_columns({"position_min": "first"})
    copies = table.filter(pc.is_in(table["sha256"], value_set=several["sha256"].combine_chunks()))
    copies = copies.join(several.select(["sha256", "first"]), "sha256")
    return copies.filter(pc.field("position") > pc.field("first")).select(["position", "first"]).sort_by("position")


def rejected(receipts: pa.Table) -> pa.Table:
    """(position, reason) of the pool's files that could not be read, in position order."""
    found = receipts.filter(~pc.field("reason").is_null()).select(["position", "reason"])
    # Large: sorting puts all of them together, which may be more than 2 GiB.
    large = pa.schema([("position", pa.int64()), ("reason", pa.large_string())])
    return found.cast(large).sort_by("position")


def catalogue(receipts: pa.Table, listing: pa.Table, samples: pa.Table) -> pa.Table:
    """What became of every image of a folder (``CATALOGUE_SCHEMA``), in position order.

    Args:
        listing: columns key, size, time; a row's number is its position.
        samples: columns position, sha256; a row's number is its ``sample_id``.
    """
    read = receipts.select(["position", "sha256", "reason"]).sort_by("position")
    ids = np.full(listing.num_rows, -1, np.int64)
    ids[np.asarray(samples["position"])] = np.arange(samples.num_rows)
    assert read["position"].equals(pa.chunked_array([np.arange(listing.num_rows)]))
    found = {"sha256": read["sha256"], "sample_id": pa.array(ids, mask=ids < 0), "reason": read["reason"]}
    columns = [found[name] if name in found else listing[name] for name in CATALOGUE_SCHEMA.names]
    return pa.table(columns, names=CATALOGUE_SCHEMA.names).cast(CATALOGUE_SCHEMA)


def _readable(receipts: pa.Table, split: str) -> pa.Table:
    """(position, sha256) of all that could be read."""
    of_split = receipts.filter((pc.field("split") == split) & pc.field("reason").is_null())
    return of_split.select(["position", "sha256"])


def pool_fingerprint(samples: pa.Table, shape: Shape) -> str:
    """``PoolManifest.fingerprint``: over the sha256 of all samples in id order, and the shape."""
    digests = [chunk.buffers()[1][32 * chunk.offset :][: 32 * len(chunk)] for chunk in samples["sha256"].chunks]
    return fingerprint("x".join(map(str, shape)), b"".join(digests))


def label_table(source: Source, split: str, positions: pa.ChunkedArray) -> pa.Table | None:
    """Labels by ``sample_id`` (``LABEL_SCHEMA``), where they are known."""
    labels = source.labels(split)
    if labels is None:
        return None
    return pa.table([np.arange(len(positions)), labels[positions.to_numpy()]], schema=LABEL_SCHEMA)


def write_pool_file(
    store: Location,
    files: PoolFiles,
    split: str,
    positions: pa.ChunkedArray,
    first_id: int,
    sizes: Sizes,
    shape: Shape,
) -> None:
    """Write samples ``first_id`` and on, at ``positions`` (ascending) of the staged files, as one Parquet file."""
    pieces = range(positions[0].as_py() // sizes.staged, positions[-1].as_py() // sizes.staged + 1)
    staged = (store.read_table(files.piece(split, number)) for number in pieces)
    wanted = positions.combine_chunks()
    table = pa.concat_tables(part.filter(pc.is_in(part["position"], value_set=wanted)) for part in staged)
    # Pieces are in order, and so is what is in them: to sort would be to hold the file twice.
    assert table["position"].equals(positions), (split, first_id, len(table), len(positions))
    ids = np.arange(first_id, first_id + len(table))
    table = pa.table([ids, table["key"], table["sha256"], table["image"]], schema=pool_schema(*shape))
    _write(store, files.part(split, first_id // sizes.file), table, sizes.group, "sample_id", "zstd")


def _staged_schema(shape: Shape) -> pa.Schema:
    return pa.schema([("position", pa.int64()), *list(pool_schema(*shape))[1:]])


def _write(store: Location, name: str, table: pa.Table, group_rows: int, number: str, compression: str) -> None:
    """Pixels gain nothing from dictionaries, and their minimum and maximum are of no use."""
    with store.writing(name) as path:
        pq.write_table(
            table,
            path,
            row_group_size=group_rows,
            compression=compression,
            use_dictionary=False,
            write_statistics=[number],
        )
