"""Small tables for people."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable


def table_csv(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> bytes:
    """A small table."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode()
