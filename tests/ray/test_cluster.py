"""K-means as a task of a cluster: as on one machine, and what is wrong comes back as one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.artifacts import Float32
from pipeline.config import ClusterConfig, RunConfig
from pipeline.errors import InputError
from pipeline.run import Run
from pipeline.storage import Location
from tests.runs import embedded

pytestmark = pytest.mark.usefixtures("local_ray")

FEATURES = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)


def _clustered(place: Path, features: Float32, k: int, monkeypatch: pytest.MonkeyPatch, *, alone: bool) -> Any:
    """By ``alone`` in this process, or by a task; all features from a few files."""
    from pipeline.on_ray import tasks
    from pipeline.stages import cluster

    monkeypatch.setattr(tasks, "only_this_machine", lambda: alone)
    store = Location(str(place))
    result = embedded(store, features, np.random.default_rng(1).permutation(len(features)))
    done = cluster.cluster(Run(RunConfig(run="r", cluster=ClusterConfig(k=k)), store, print), result)
    return cluster.read_clustering(store, done)


def test_a_task_finds_what_one_machine_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = _clustered(tmp_path / "here", FEATURES, 5, monkeypatch, alone=True)
    there = _clustered(tmp_path / "there", FEATURES, 5, monkeypatch, alone=False)
    for name in ("cluster", "distance", "centroids"):
        assert np.array_equal(getattr(here, name), getattr(there, name)), name


def test_what_a_task_refuses_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only who has read the features knows that they are too few."""
    alike = np.repeat(FEATURES[:3], 100, axis=0)
    with pytest.raises(InputError, match="distinct") as refused:
        _clustered(tmp_path, alike, 5, monkeypatch, alone=False)
    assert type(refused.value) is InputError and "\n" not in str(refused.value)
    assert not list((tmp_path / "runs").rglob("*.*"))
    assert len(_clustered(tmp_path, alike, 3, monkeypatch, alone=False).centroids) == 3
