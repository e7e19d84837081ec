"""Which features are held, and which pass as a stream."""

from __future__ import annotations

import re

import pytest

from pipeline.cluster import Choice
from pipeline.stages import cluster

GIB = 1 << 30


@pytest.mark.parametrize(
    ("gib", "backend", "chosen", "why"),
    [
        (4, "auto", "sklearn", None),
        (5, "auto", "sklearn", "5.0 GiB of features come as a stream"),
        (5, "sklearn", "sklearn", "5.0 GiB of features come as a stream"),
        (32, "auto", "cuml", None),
        (33, "auto", "cuml", "33.0 GiB of features, .* more than half of the 64.0 GiB that are free"),
        (33, "cuml", "cuml", None),
    ],
)
def test_features_are_streamed_where_they_would_not_fit(
    gib: int, backend: str, chosen: str, why: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuML takes no stream: where it was not asked for, scikit-learn takes its place."""
    monkeypatch.setattr(cluster, "choose_backend", lambda _: Choice(chosen, "a reason"))
    monkeypatch.setattr(cluster, "free_memory", lambda: 64 * GIB)
    found = cluster.why_streamed(gib * GIB, backend)
    assert found is None if why is None else re.search(why, found or "")
