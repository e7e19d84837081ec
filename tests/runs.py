"""Where a finished run keeps what its stages left."""

from __future__ import annotations

from pipeline.stages import finished, run_folder
from pipeline.storage import Location


def files_of(store: Location, run: str, stage: str) -> str:
    """The folder that the stage's result names."""
    done = finished(store, run_folder(run, stage))
    assert done is not None, f"{stage} of {run} is not finished"
    return str(done["files"])
