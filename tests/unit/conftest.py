"""A place for results of each kind, for tests that must hold on both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.storage import Location


@pytest.fixture(params=["directory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """An empty place below a folder of its own: in a directory, and in a bucket of the fake S3."""
    if request.param == "directory":
        return Location(str(tmp_path / "store"))
    make_bucket: Callable[[], str] = request.getfixturevalue("make_bucket")
    return Location(f"s3://{make_bucket()}/some/prefix")
