"""Results of stages go to ``done.json`` and come back as they were."""

from __future__ import annotations

import dataclasses
import json

import pytest

from pipeline.artifacts import Encoder, Layout, PoolManifest
from pipeline.errors import InputError
from pipeline.results import (
    STAGES,
    Clustered,
    Compared,
    Embedded,
    Generation,
    Ingested,
    Night,
    Published,
    Queried,
    Reported,
    SharedPart,
    Trained,
)

MANIFEST = PoolManifest("p", "npz:/a.npz", "pools/p", 9, 8, 8, 1, {"train": 9, "test": 3}, ("a", "b"), 1, 2, "f" * 64)
ENCODER = Encoder("backbone", "net", "backbones/w.safetensors", "w", 1280, "apache-2.0", 96, (0.5,) * 3, (0.25,) * 3)
RESULTS: tuple[Published, ...] = (
    Ingested(manifest=MANIFEST),
    Trained(
        **{"weights": "w", "dimensions": 512, "arch": "resnet18", "loss": 1 / 3},
        **{
            "fitted": {"batch_size": 32, "confidence_temperatures": [0.2, 0.05]},
            "notes": ["batch_size is 32, not 256."],
        },
    ),
    Embedded(size=9, dimensions=512),
    Embedded(size=9, dimensions=1280, source="imagenet", encoder=ENCODER),
    Compared(size=9, dimensions=96, source="imagenet", encoder=ENCODER, explained=0.75),
    Clustered(k=3, inertia=0.1 + 0.2, backend="sklearn", reason="no GPU", seed=2**32 - 1),
    Queried(budget=3, order="hard-to-contrast", emitted=9),
    Reported(bytes=12_345),
    Night(
        **{"number": 3, "query": 2, "issued": 5, "order": "greedy-medoids", "lease": 7, "at": "2026-12-01T00:00:00"},
        **{"size": 12, "held": 11, "generations": (Generation(0, MANIFEST), Generation(9, MANIFEST))},
        **{"parts": ("runs/r/nights/0002/files-1",), "whole": True, "clusters": "c", "clustered": 9, "reference": "r"},
        **{"last_order": "o", "last_issued": 5, "answers": 2, "counts": {"new": 3}, "totals": {"open": 5}},
        **{"churn": 0.25, "verdict": {"name": "assign", "p": 0.5}},
    ),
    SharedPart(),
    SharedPart(inertia=0.5, backend="sklearn", reason="no GPU"),
)
PUBLISHED = [
    dataclasses.replace(each, folder="runs/r/s", files="runs/r/s/files-1", fingerprint="e" * 64, seconds=1.25)
    for each in RESULTS
]


def name(result: Published) -> str:
    """Of its class."""
    return type(result).__name__


def test_every_result_is_among_those_of_these_tests() -> None:
    """A new stage's result without an example fails here."""
    kinds = [*Published.__subclasses__(), *Embedded.__subclasses__()]
    ours = {each for each in kinds if each.__module__ == Published.__module__}
    assert {type(each) for each in RESULTS} == ours
    assert {*STAGES, Ingested, Night, SharedPart} == ours


@pytest.mark.parametrize("result", PUBLISHED, ids=name)
def test_a_result_comes_back_from_json_as_it_was(result: Published) -> None:
    written = json.loads(json.dumps(result.to_dict()))
    assert set(written) == {each.name for each in dataclasses.fields(result)}
    assert type(result).from_dict(written) == result


@pytest.mark.parametrize("layout", [None, Layout(4, 2)], ids=["none", "files"])
def test_a_pool_comes_back_with_its_layout_and_without_classes(layout: Layout | None) -> None:
    result = Ingested(manifest=dataclasses.replace(MANIFEST, classes=None, layout=layout))
    assert Ingested.from_dict(json.loads(json.dumps(result.to_dict()))) == result


@pytest.mark.parametrize("result", PUBLISHED, ids=name)
def test_what_another_version_wrote_besides_is_ignored(result: Published) -> None:
    assert type(result).from_dict({**json.loads(json.dumps(result.to_dict())), "of_another_version": [1]}) == result


OPTIONAL = {
    *((SharedPart, each) for each in ("inertia", "backend", "reason")),
    *((kind, each) for kind in (Embedded, Compared) for each in ("source", "encoder")),
    *((Queried, each) for each in ("reason", "premise")),
}
"""Versions before theirs did without them."""


@pytest.mark.parametrize(
    ("result", "missing"),
    [
        pytest.param(each, field.name, id=f"{name(each)}-{field.name}")
        for each in PUBLISHED[:-1]
        for field in dataclasses.fields(each)
        if (type(each), field.name) not in OPTIONAL
    ],
)
def test_what_is_missing_is_named_in_a_sentence(result: Published, missing: str) -> None:
    written = json.loads(json.dumps(result.to_dict()))
    del written[missing]
    with pytest.raises(InputError) as error:
        type(result).from_dict(written)
    # Where the folder itself is missing, the stage's name stands for it.
    place = result.stage if missing == "folder" else result.folder
    assert str(error.value) == (
        f"'{place}' does not say its '{missing}': another version of hacon made it; start a new run with --run."
    )


def test_an_array_that_trials_share_need_not_be_of_a_clustering() -> None:
    written = {key: value for key, value in PUBLISHED[-2].to_dict().items() if (SharedPart, key) not in OPTIONAL}
    assert SharedPart.from_dict(written) == PUBLISHED[-2]
