"""The query as a table that a spreadsheet may open."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline.artifacts import ORDER_SCHEMA

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def query_csv(query: pa.Table) -> str:
    """``rank,sample_id,key,cluster,confidence,variability``, one line an image, in order.

    A key that a spreadsheet would compute has an apostrophe in front (``safe``).
    """
    rows = ([plain(row[name]) for name in ORDER_SCHEMA.names] for row in query.to_pylist())
    return "".join(_csv_line(row) for row in (ORDER_SCHEMA.names, *rows))


def safe(text: str) -> str:
    """The text with an apostrophe in front where a spreadsheet would compute it; ``data.labels.unsafe`` undoes it.

    Source: OWASP, "CSV injection": cells that begin with = + - @, tab or carriage return.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def plain(value: Any) -> Any:
    """A float with nine significant digits; None for not-a-number, which becomes an empty field."""
    if isinstance(value, float):
        return None if value != value else float(f"{value:.9g}")
    return value


def _csv_line(values: Sequence[Any]) -> str:
    """The writer is told of CR and LF, so that Python 3.11 quotes either of them in a key; the line ends in LF."""
    text = io.StringIO()
    cells = [safe(value) if isinstance(value, str) else value for value in values]
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n") + "\n"
