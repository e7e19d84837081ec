"""Every setting says what it decides; what decides a stage, changed, is refused, and nothing else is."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.artifacts import PoolManifest
from pipeline.config import RunConfig, decisive, override, settings_of
from pipeline.errors import InputError
from pipeline.publish import Stage, claim, stage_of
from pipeline.results import Clustered, Compared, Embedded, Ingested, Queried, Reported, Trained
from pipeline.run import Run
from pipeline.stages.cluster import cluster_stage
from pipeline.stages.ingest import _deciding
from pipeline.stages.pretrain import pretrain_stage
from pipeline.storage import Location

ALL = [key for key, _, _ in settings_of(RunConfig())]


def silent(_: str) -> None:
    """Says nothing."""


def groups(kind: type) -> list[type]:
    """The dataclasses of settings, the whole among them."""
    below = [hint for hint in typing.get_type_hints(kind).values() if dataclasses.is_dataclass(hint)]
    return [kind, *(each for hint in below for each in groups(typing.cast("type", hint)))]


@pytest.mark.parametrize("group", groups(RunConfig), ids=lambda group: group.__name__)
def test_every_setting_decides_a_stage_or_says_why_not(group: type) -> None:
    """A new field without a word fails here: its stage would pass for done with another value of it."""
    for field in dataclasses.fields(group):
        if dataclasses.is_dataclass(typing.get_type_hints(group)[field.name]):
            continue
        assert "decides" in field.metadata, f"{group.__name__}.{field.name} is no setting(...)"
        decides, no = field.metadata["decides"], field.metadata["no"]
        assert bool(decides) != bool(no), f"{group.__name__}.{field.name} decides {decides} and says '{no}'"


def another(config: RunConfig, key: str) -> RunConfig:
    """The same with another valid value of one setting."""
    value: Any = config
    hints: Any = RunConfig
    for name in key.split("."):
        value, hints = getattr(value, name), typing.get_type_hints(hints)[name]
    kinds = {hints, *typing.get_args(hints)}
    literal = next((kind for kind in kinds if typing.get_origin(kind) is typing.Literal), None)
    new: Any
    if literal is not None:
        new = next(choice for choice in typing.get_args(literal) if choice != value)
    elif typing.get_origin(hints) is tuple:
        new = {str: ["random"], float: [0.2, 0.05, 0.3], int: [3]}[typing.get_args(hints)[0]]
    elif bool in kinds:
        new = not value
    elif int in kinds:
        new = {"workers": 2}.get(key, (value or 6) + 2)
    elif float in kinds:
        new = (value or 1.0) / 2
    else:
        new = {"ingest.labels": "folder", "query.order": "random"}.get(key, f"{value or ''}another")
    changed = override(config, {key: new})
    assert changed != config
    return changed


def pool_stage(run: Run) -> Stage[Any]:
    """That of ``ingest``; labels come from a table, whose columns then count."""
    return Stage(run.store, "pools/p", Ingested, _deciding(run.config, "state"), "name a new pool")


POOL = PoolManifest("p", "digits", "pools/p", 100, 8, 8, 1, {"train": 100}, None, 0, 0, "fingerprint")
EMBEDDED = Embedded(size=100, dimensions=2, fingerprint="f")
MAKERS: dict[str, Callable[[Run], Stage[Any]]] = {
    "ingest": pool_stage,
    "pretrain": lambda run: pretrain_stage(run, POOL)[0],
    "embed": lambda run: stage_of(run, Embedded, {}),
    "space": lambda run: stage_of(run, Compared, {}),
    "cluster": lambda run: cluster_stage(run, EMBEDDED),
    "query": lambda run: stage_of(run, Queried, {}),
    "report": lambda run: stage_of(run, Reported, {}),
}
BASE = override(
    RunConfig(),
    {
        **{"ingest.source": "folder:/scans", "ingest.labels": "/labels.csv", "query.budget": 20, "cluster.k": 6},
        **{"pretrain.batch_size": 32, "pretrain.bn_splits": 2},
    },
)


@pytest.mark.parametrize("key", ALL)
def test_what_decides_a_stage_is_refused_when_it_changes_and_nothing_else_is(key: str, tmp_path: Path) -> None:
    store = Location(str(tmp_path))
    changed = another(BASE, key)
    # A run's name and what it builds on are its own affair: the folder that is claimed must stay the same.
    changed = replace(changed, run=BASE.run)
    if key == "ingest.source":
        changed = override(changed, {"ingest.source": "folder:/others"})
    for stage, maker in MAKERS.items():
        before = maker(Run(BASE, store, silent))
        claim(store, before.folder, before.settings, "")
        after = maker(Run(changed, store, silent))
        name = key.removeprefix("ingest.")
        if name in {**decisive(BASE, stage), **decisive(changed, stage)}:  # a later version's is claimed if it is set
            named = name
            if (stage, key) == ("ingest", "ingest.labels"):
                # Without a table its columns do not count, and the first difference in the alphabet is one of them.
                assert after.settings["labels"] != before.settings["labels"]
                named = "key_column"
            with pytest.raises(InputError, match=f"was begun with {re.escape(named)}="):
                claim(store, after.folder, after.settings, "")
        else:
            assert not claim(store, after.folder, after.settings, ""), f"{key} does not decide {stage}"


def test_keys_are_those_that_runs_were_begun_with() -> None:
    """``settings.json`` of earlier versions has these."""
    assert {"image_size", "channels", "max_pixels", "labels"} <= decisive(BASE, "ingest").keys()
    assert {"seed", "pretrain.epochs", "pretrain.arch"} <= decisive(BASE, "pretrain").keys()
    assert decisive(BASE, "embed") == {}
    assert {"seed", "cluster.k", "cluster.backend"} <= decisive(BASE, "cluster").keys()
    assert {"seed", "query.budget", "query.order"} <= decisive(BASE, "query").keys()
    assert set(decisive(BASE, "report")) == {"report.random_draws", "report.umap_points", "report.contact_sheet"}
    assert {kind.job for kind in (Trained, Embedded, Clustered, Queried, Reported)} <= {*MAKERS}
