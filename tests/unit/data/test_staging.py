"""What is computed from all receipts at once, against the plain way of doing it."""

from __future__ import annotations

import hashlib

import pyarrow as pa

from pipeline.artifacts import fingerprint
from pipeline.data.staging import pool_fingerprint

DIGESTS = [hashlib.sha256(bytes([number])).digest() for number in range(9)]


def test_the_fingerprint_is_over_the_digests_in_order_however_arrow_holds_them() -> None:
    column = pa.array(DIGESTS, pa.binary(32))
    expected = fingerprint("2x2x3", b"".join(DIGESTS[1:]))
    for chunks in ([column[1:]], [column[1:4], column[4:4], column[4:]]):
        samples = pa.table({"sha256": pa.chunked_array(chunks)})
        assert pool_fingerprint(samples, (2, 2, 3)) == expected
