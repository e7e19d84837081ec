"""What tests of several rooms share: a place for results of each kind, and what long work tells."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path

import pytest

from pipeline import progress
from pipeline.storage import Location


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The steps that long work tells while the test runs."""
    steps: list[tuple[int, int]] = []
    monkeypatch.setattr(progress, "_LISTENER", ContextVar("listener", default=lambda *step: steps.append(step)))
    return steps


@pytest.fixture(params=["directory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Location:
    """An empty place below a folder of its own: in a directory, and in a bucket of the fake S3."""
    if request.param == "directory":
        return Location(str(tmp_path / "store"))
    make_bucket: Callable[[], str] = request.getfixturevalue("make_bucket")
    return Location(f"s3://{make_bucket()}/some/prefix")
