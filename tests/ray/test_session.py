"""What a job on several nodes makes sure of before it begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import InputError
from pipeline.on_ray import session
from pipeline.storage import Location


@pytest.fixture
def two_nodes(local_ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that there is, counted twice."""
    nodes = local_ray.nodes()
    monkeypatch.setattr(local_ray, "nodes", lambda: [*nodes, {**nodes[0], "NodeManagerHostname": "gpu-1"}])


@pytest.mark.usefixtures("two_nodes")
def test_a_folder_that_all_nodes_see_is_a_store(tmp_path: Path) -> None:
    said = list[str]()
    with session.ray_session(said.append, Location(str(tmp_path))):
        assert list(tmp_path.iterdir()) == []
    assert said == []


@pytest.mark.usefixtures("two_nodes")
def test_a_folder_of_one_node_is_no_store_for_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ./hacon-store is on a cluster, where --store was forgotten."""
    monkeypatch.setattr(session, "_sees", lambda store, name: False)
    with (
        pytest.raises(
            InputError, match=r"a directory that 2 of 2 nodes do not see .*; give one on S3 with --store s3://"
        ),
        session.ray_session(print, Location(str(tmp_path))),
    ):
        raise AssertionError("the job began")
    assert list(tmp_path.iterdir()) == []


def test_nodes_that_are_to_come_are_spoken_of(local_ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said, there = list[str](), local_ray.cluster_resources()
    monkeypatch.setattr(local_ray, "cluster_resources", lambda: there | {session.AUTOSCALED_GPUS: 4})
    with session.ray_session(said.append, Location(str(tmp_path))):
        (line,) = said
    assert "nodes that start later must see too" in line
