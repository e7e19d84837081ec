"""What an archive knows of its samples: where they came from, what was handed out, what came back. Pure.

N = samples that the archive ever had, ids 0 .. N-1; D = dimensions of the space in which images are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.archive.changes import sample_of_keys, samples_held
from pipeline.artifacts import Float32, Int64

LABELLED, SKIPPED = "labelled", "skipped"
"""What came back of a sample: a label, or that none can be given."""

ISSUED_SCHEMA = pa.schema(
    [("sample_id", pa.int64()), ("query", pa.int32()), ("rank", pa.int64()), ("replaces", pa.int64())]
)
"""What was handed out, once each. ``replaces``: a sample that was lost, in whose place this one was chosen."""
ANSWERS_SCHEMA = pa.schema([("sample_id", pa.int64()), ("status", pa.string())])
"""The last answer for each sample."""


def samples_schema(dimensions: int) -> pa.Schema:
    """Columns of a night's new samples. ``night``: the one that found it; ``distance`` is to the cluster's centroid."""
    return pa.schema(
        [
            ("sample_id", pa.int64()),
            ("night", pa.int32()),
            ("cluster", pa.int32()),
            ("distance", pa.float32()),
            ("features", pa.list_(pa.float32(), dimensions)),
        ]
    )


@dataclass(frozen=True)
class Archive:
    """The archive after a night. Shapes: night, cluster, distance (N,); features (N, D)."""

    files: pa.Table
    """``FILES_SCHEMA``, sorted by key."""
    issued: pa.Table
    """``ISSUED_SCHEMA``."""
    answers: pa.Table
    """``ANSWERS_SCHEMA``."""
    night: NDArray[np.int32]
    cluster: NDArray[np.int32]
    distance: Float32
    features: Float32

    @property
    def size(self) -> int:
        """N."""
        return len(self.night)

    @property
    def held(self) -> NDArray[np.bool_]:
        """(N,) whether a file holds the sample."""
        return self._mask(samples_held(self.files))

    @property
    def handed_out(self) -> NDArray[np.bool_]:
        """(N,) whether it was in a query."""
        return self._mask(self.issued["sample_id"])

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """(N,) whether a label came back."""
        return self._mask(self.answers.filter(pc.field("status") == LABELLED)["sample_id"])

    @property
    def skipped(self) -> NDArray[np.bool_]:
        """(N,) whether it came back that none can be given."""
        return self._mask(self.answers.filter(pc.field("status") == SKIPPED)["sample_id"])

    @property
    def open(self) -> NDArray[np.bool_]:
        """(N,) whether it is handed out, and still to be labelled."""
        return self.handed_out & self.held & ~self.labelled & ~self.skipped

    @property
    def lost(self) -> Int64:
        """Ids that were handed out, will get no label, and were not replaced yet; in the order of their issue."""
        gone = self.handed_out & ~self.labelled & (self.skipped | ~self.held)
        replaced = np.asarray(self.issued["replaces"].drop_null(), np.int64)
        ids = np.asarray(self.issued["sample_id"], np.int64)
        return ids[gone[ids] & ~np.isin(ids, replaced)]

    @property
    def totals(self) -> dict[str, int]:
        """Of all queries so far."""
        counts = {
            "handed_out": int(self.handed_out.sum()),
            "labelled": int(self.labelled.sum()),
            "skipped": int(self.skipped.sum()),
            "open": int(self.open.sum()),
        }
        return {**counts, "lost": int((self.handed_out & ~self.labelled & ~self.skipped & ~self.held).sum())}

    def _mask(self, ids: Int64 | pa.ChunkedArray) -> NDArray[np.bool_]:
        mask = np.zeros(self.size, bool)
        mask[np.asarray(ids, np.int64)] = True
        return mask


def answered(answers: pa.Table, files: pa.Table, batch: pa.Table) -> tuple[pa.Table, int]:
    """``answers`` with those of a batch in their place, and how many of its keys are not in the archive.

    Args:
        files: as the archive was when the batch came: a key stands for the sample that was under it then.
        batch: columns key and status.
    """
    said = batch.filter(pc.is_in(batch["status"], value_set=pa.array([LABELLED, SKIPPED])))
    sample_of = sample_of_keys(files, said["key"])
    rows = dict(zip(answers["sample_id"].to_pylist(), answers["status"].to_pylist(), strict=True))
    pairs = list(zip(said["key"].to_pylist(), said["status"].to_pylist(), strict=True))
    rows |= {sample_of[key]: status for key, status in pairs if key in sample_of}
    table = pa.table([list(rows), list(rows.values())], schema=ANSWERS_SCHEMA)
    return table.sort_by("sample_id"), sum(key not in sample_of for key, _ in pairs)
