"""Which group each image belongs to, by a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.config import RunConfig
from pipeline.data.labels import Cleaner, Table, labels_from_tables, number_labels
from pipeline.errors import InputError
from pipeline.progress import counted
from pipeline.run import Run
from pipeline.storage import Location


def table_file(name: str, flag: str) -> Table:
    """A table that the user names.

    Raises:
        InputError: it is not there.
    """
    folder, slash, file = name.rpartition("/")
    location = Location(folder or slash or ".")
    if not location.is_file(file):
        raise InputError(f"There is no file '{name}'; check {flag}.")
    return Table(name, location.read_bytes(file))


def groups_table(config: RunConfig) -> Table | None:
    """The table of groups; None where no cap is asked for.

    Raises:
        InputError: only a part of what a cap needs is given, or the file is not there.
    """
    query = config.query
    given = [query.groups, query.per, query.at_most]
    if not any(each is not None for each in given):
        return None
    if any(each is None for each in given):
        raise InputError(
            "A cap on groups needs three things: --groups FILE, --per COLUMN of it and --at-most N; give all of them."
        )
    return table_file(str(query.groups), "--groups")


def groups_of(run: Run, table: Table, keys: Sequence[str]) -> NDArray[np.int32]:
    """(n,) number of each key's group; -1: the table does not say.

    Raises:
        InputError: no such columns, or an image in two groups.
    """
    config, column = run.config, str(run.config.query.per)
    clean = Cleaner(config.ingest.no_label)
    numbers, names = number_labels(labels_from_tables([table], keys, config.ingest.key_column, column, clean))
    missing = int((numbers < 0).sum())
    alone = f"; {counted(missing, 'image')} without one, each a group of its own" if missing else ""
    run.log(f"{len(names)} of '{column}' by '{table.name}'{alone}")
    return numbers
