"""What runs a store holds, and deleting one: what others build on stays, what nobody uses goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from jobs import delete, runs, status
from pipeline.artifacts import PoolManifest
from pipeline.config import IngestConfig, QueryConfig, RunConfig
from pipeline.errors import InputError
from pipeline.publish import Stage, finished
from pipeline.results import Clustered, Embedded, Ingested, Published, Queried, Reported, Trained
from pipeline.run import Run, run_folder
from pipeline.runs import list_runs, removal_of, remove, run_state
from pipeline.storage import Location

FACTS: dict[type[Published], dict[str, Any]] = {
    Trained: {"weights": "w", "dimensions": 2, "arch": "resnet18", "loss": 1.0, "fitted": {}, "notes": []},
    Embedded: {"size": 9, "dimensions": 2},
    Clustered: {"k": 3, "inertia": 1.0, "backend": "sklearn", "reason": "", "seed": 0},
    Queried: {"budget": 2, "order": "random", "emitted": 9},
    Reported: {"bytes": 1},
}


def silent(_: str) -> None:
    """Says nothing."""


def make_run(
    store: Location, name: str, *, pool: str = "scans", reuse: str | None = None, upto: int = 5, save: bool = True
) -> None:
    """A run of the first ``upto`` stages; with ``reuse`` its first three are taken over."""
    manifest = PoolManifest(pool, f"folder:/{pool}", "", 9, 4, 4, 3, {"train": 9}, None, 0, 0, "")
    Stage(store, f"pools/{pool}", Ingested, {}, "").run(lambda _: Ingested(manifest=manifest), silent)
    config = RunConfig(
        run=name, store=store.uri, ingest=IngestConfig(source=f"folder:/{pool}", name=pool), query=QueryConfig(budget=2)
    )
    for place, (kind, facts) in enumerate(list(FACTS.items())[:upto]):

        def work(files: str, kind: type[Published] = kind, facts: dict[str, Any] = facts) -> Any:
            store.write_bytes(f"{files}/file", b"12345")
            return kind(**facts)

        shared = None if reuse is None or place > 2 else run_folder(reuse, kind.stage)
        Stage(store, run_folder(name, kind.stage), kind, {}, "", reuse=shared).run(work, silent)
    if save:
        Run(config, store, silent).save()


def test_a_finished_run_says_what_it_is(place: Location) -> None:
    make_run(place, "first")
    (found,) = list_runs(place)
    assert (found.run, found.state, found.images, found.pool, found.budget, found.order) == (
        *("first", "finished", 9, "scans", 2, "random"),
    )
    assert found.bytes == sum(size for _, size, _ in place.files("runs/first"))
    assert found.builds_on == found.needed_by == ()
    assert found.next.startswith("hacon select --from first --run first-more --budget 4 --set cluster.k=3")
    assert [stage.state for stage in found.stages] == ["finished"] * 5 and found.when is not None
    assert json.loads(json.dumps(found.to_dict()))["stages"][0]["run"] == "first"


@pytest.mark.parametrize("upto", range(5))
def test_an_unfinished_run_says_what_is_missing_and_what_goes_on(upto: int, place: Location) -> None:
    make_run(place, "half", upto=upto)
    found = run_state(place, "half")
    assert found.state == ("pretrain", "embeddings", "clusters", "query", "report")[upto]
    assert found.next.startswith("hacon select --run half")
    place.put_if_absent(f"runs/half/{found.state}/settings.json", {})
    assert run_state(place, "half").stages[upto].state == "begun"


def test_who_builds_on_whom(place: Location) -> None:
    make_run(place, "first")
    make_run(place, "second", reuse="first")
    first, second = list_runs(place)
    assert (first.needed_by, second.builds_on) == (("second",), ("first",))
    assert [stage.run for stage in second.stages] == ["first", "first", "first", "second", "second"]


def test_a_run_that_saved_nothing_or_nothing_readable_is_listed(place: Location) -> None:
    make_run(place, "killed", upto=1, save=False)
    make_run(place, "newer", upto=1)
    place.write_bytes("runs/newer/config.yaml", b"of_the_future: 1\n")
    assert [(run.run, run.pool) for run in list_runs(place)] == [("killed", None), ("newer", None)]


def test_an_empty_store_has_no_runs(place: Location) -> None:
    assert list_runs(place) == []
    with pytest.raises(InputError, match=r"There is no run 'x' on .*; it has none\."):
        run_state(place, "x")


def test_deleting_takes_a_run_and_its_pool(place: Location) -> None:
    make_run(place, "first")
    make_run(place, "other", pool="others")
    removal = removal_of(place, "first")
    assert removal.folders == (
        *(f"runs/first/{stage}" for stage in ("report", "query", "clusters", "embeddings", "pretrain")),
        "pools/scans",
    )
    assert not removal.kept and removal.files == 5 * 3 + 2
    remove(place, removal)
    assert {name.split("/")[1] for name, _, _ in place.files()} == {"other", "others"}
    assert run_state(place, "other").state == "finished"


def test_what_other_runs_build_on_stays_until_they_go(place: Location) -> None:
    make_run(place, "first")
    make_run(place, "second", reuse="first")
    remove(place, removal_of(place, "first"))
    assert [run.run for run in list_runs(place)] == ["second"] and run_state(place, "second").state == "finished"
    done = finished(place, "runs/second/pretrain", Trained)
    assert done is not None and place.read_bytes(f"{done.files}/file") == b"12345"
    remove(place, removal_of(place, "second"))
    assert place.files() == []


def test_a_pool_that_another_run_may_use_stays(place: Location) -> None:
    make_run(place, "first")
    make_run(place, "second")
    assert "pools/scans" not in removal_of(place, "first").folders
    remove(place, removal_of(place, "second"))
    make_run(place, "unsaid", pool="scans", upto=1, save=False)
    assert "pools/scans" not in removal_of(place, "first").folders


def test_a_run_begun_again_under_a_deleted_ones_name_is_there(place: Location) -> None:
    make_run(place, "first")
    make_run(place, "second", reuse="first")
    remove(place, removal_of(place, "first"))
    make_run(place, "first")
    assert [run.run for run in list_runs(place)] == ["first", "second"]


def test_a_deletion_that_was_broken_off_is_done_by_the_next(place: Location) -> None:
    make_run(place, "first")
    removal = removal_of(place, "first")
    remove(place, replace(removal, folders=removal.folders[:1], kept={"runs/first/pretrain": ("x",)}))
    place.delete_file("runs/first/deleted.json")
    remove(place, removal_of(place, "first"))
    assert [name for name, _, _ in place.files() if name.startswith("runs/")] == []


# ---- the commands ------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Any) -> Location:
    place = Location(str(tmp_path / "store"))
    make_run(place, "first")
    make_run(place, "second", reuse="first")
    return place


def test_the_list_is_a_line_a_run(store: Location, capsys: pytest.CaptureFixture[str]) -> None:
    assert runs.main(["--store", store.uri]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["run", "state"] and [line.split()[0] for line in lines] == ["first", "second"]
    assert runs.main(["--store", store.uri, "--json"]) == 0
    assert [run["run"] for run in json.loads(capsys.readouterr().out)] == ["first", "second"]


def test_status_is_of_one_run(store: Location, capsys: pytest.CaptureFixture[str]) -> None:
    assert status.main(["--store", store.uri, "--run", "second"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("second: finished, pool scans, 9 images, a query of 2 by random")
    assert said.count("taken over from first") == 3
    assert status.main(["--store", store.uri, "--run", "first"]) == 0
    assert "Runs that build on it: second" in capsys.readouterr().out
    assert status.main(["--store", store.uri, "--run", "third"]) == 2
    assert "There is no run 'third'" in capsys.readouterr().err


def test_nothing_is_deleted_unasked(
    store: Location, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = store.files()
    assert delete.main(["--store", store.uri, "--run", "first"]) == 2
    assert "say so with --yes" in capsys.readouterr().err
    answers: Callable[[str], str] = lambda _: "no"  # noqa: E731
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", answers)
    assert delete.main(["--store", store.uri, "--run", "first"]) == 0
    assert "Nothing was deleted." in capsys.readouterr().out and store.files() == before
    monkeypatch.setattr("builtins.input", lambda _: "y")
    assert delete.main(["--store", store.uri, "--run", "first"]) == 0
    said = capsys.readouterr().out
    assert "stays" in said and "second builds on it" in said and said.endswith("Deleted.\n")
    assert [run.run for run in list_runs(store)] == ["second"]
