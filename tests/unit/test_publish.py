"""Stages: claimed by their settings, done once, published by one object; nothing half-done counts."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pipeline.config import RunConfig
from pipeline.errors import InputError
from pipeline.progress import silent
from pipeline.publish import Stage, claim, finished, required
from pipeline.results import Embedded, Published
from pipeline.run import Run, run_folder
from pipeline.storage import Location

SETTINGS = {"pool": "abc", "seed": 0, "cluster.k": 30}
REMEDY = "start a new run with --run."


@dataclass(frozen=True, kw_only=True)
class Facts(Published):
    """What the stage of these tests finds."""

    stage: ClassVar[str] = "clusters"
    job: ClassVar[str] = "cluster"

    loss: float | None = None
    by: int | None = None


class Work:
    """A stage's work that counts how often it was done."""

    def __init__(self, store: Location) -> None:
        self.store, self.times = store, 0

    def __call__(self, files: str) -> Facts:
        self.times += 1
        self.store.write_bytes(f"{files}/file", f"{self.times}".encode())
        return Facts(loss=0.5)


def stage_of(store: Location, run: str = "first", reuse: str | None = None, **changes: Any) -> Stage[Facts]:
    """The stage "clusters" of a run."""
    folder = None if reuse is None else run_folder(reuse, "clusters")
    return Stage(store, run_folder(run, "clusters"), Facts, {**SETTINGS, **changes}, REMEDY, reuse=folder)


def run_of(place: Location, **settings: Any) -> Run:
    """A run with these settings, on this store."""
    return Run(RunConfig(**settings), place, silent)


def never(_: str) -> Facts:
    """Work that must not be done."""
    raise AssertionError("the stage was done again")


def test_a_stage_is_done_once_and_then_kept(place: Location) -> None:
    stage, said = stage_of(place), list[str]()
    work = Work(place)
    assert finished(place, stage.folder, Facts) is None
    first = stage.run(work, said.append)
    assert (first.loss, first.folder) == (0.5, "runs/first/clusters")
    assert first.fingerprint == stage.fingerprint and first.seconds >= 0 and not said
    assert stage.run(work, said.append) == first and work.times == 1
    assert said == [f"kept what is there: {place.show('runs/first/clusters')}"]
    assert finished(place, stage.folder, Facts) == first == required(run_of(place, run="first"), Facts)
    assert first.files.startswith("runs/first/clusters/files-")
    assert [name for name, _, _ in place.files()] == [
        "runs/first/clusters/done.json",
        f"{first.files}/file",
        "runs/first/clusters/settings.json",
    ]
    assert place.read_json(f"{stage.folder}/settings.json") == SETTINGS


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cluster.k": 8}, "cluster.k=30, now it is 8"),
        ({"pool": "xyz", "seed": 1}, "pool=abc, now it is xyz"),
        ({"cluster.new": True}, "cluster.new=None, now it is True"),
    ],
)
@pytest.mark.parametrize("done", [True, False])
def test_a_changed_setting_is_named_with_the_remedy(
    changes: dict[str, Any], words: str, done: bool, place: Location
) -> None:
    before = stage_of(place)
    if done:
        before.run(lambda _: Facts(), silent)
    else:
        place.put_if_absent(f"{before.folder}/settings.json", SETTINGS)
    listed = place.files()
    with pytest.raises(InputError) as caught:
        stage_of(place, **changes).run(never, silent)
    assert str(caught.value) == f"'{place.show(before.folder)}' was begun with {words}; {REMEDY}"
    assert place.files() == listed


def test_of_a_changed_input_nobody_wants_to_read_the_fingerprints(place: Location) -> None:
    stage_of(place, pool=64 * "a").run(lambda _: Facts(), silent)
    with pytest.raises(InputError, match=f"' was begun with another pool than this; {re.escape(REMEDY)}$"):
        stage_of(place, pool=64 * "b").run(never, silent)


def test_settings_are_compared_as_json_reads_them_back(place: Location) -> None:
    settings = {"temperatures": [0.2, 0.05], "none": None, "flag": True, "rate": 1e-4, "whole": 3.0}
    stage = Stage(place, "runs/r/pretrain", Facts, settings, REMEDY)
    first = stage.run(lambda _: Facts(), silent)
    assert stage.run(never, silent) == first


def test_work_that_failed_counts_for_nothing_and_is_done_again(place: Location) -> None:
    stage = stage_of(place)

    def killed(files: str) -> Facts:
        place.write_bytes(f"{files}/file", b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.run(killed, silent)
    assert finished(place, stage.folder, Facts) is None
    with pytest.raises(InputError):
        required(run_of(place, run="first"), Facts)
    work = Work(place)
    assert stage.run(work, silent).loss == 0.5 and work.times == 1
    (file,) = (name for name, _, _ in place.files() if name.endswith("/file"))
    assert place.read_bytes(file) == b"1", "what the failed attempt wrote is gone"


def test_a_result_stays_where_only_the_answer_was_lost(place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 has taken done.json, and the connection breaks; or Ctrl-C comes right after."""
    stage, work, put = stage_of(place), Work(place), Location.put_if_absent

    def lost(self: Location, name: str, value: Any) -> bool:
        done = put(self, name, value)
        if name.endswith("/done.json"):
            raise OSError("the connection was reset")
        return done

    with monkeypatch.context() as patch:
        patch.setattr(Location, "put_if_absent", lost)
        with pytest.raises(OSError, match="reset"):
            stage.run(work, silent)
    kept = stage.run(never, silent)
    assert place.read_bytes(f"{kept.files}/file") == b"1"


def test_the_result_is_published_after_the_work(place: Location) -> None:
    stage, seen = stage_of(place), list[tuple[bool, bool]]()

    def work(_: str) -> Facts:
        seen.append((place.is_file(f"{stage.folder}/settings.json"), place.is_file(f"{stage.folder}/done.json")))
        return Facts()

    stage.run(work, silent)
    assert seen == [(True, False)] and place.is_file(f"{stage.folder}/done.json")


def test_two_jobs_with_the_same_settings_end_with_one_result(place: Location) -> None:
    gate, said = threading.Barrier(2), list[str]()
    stage = stage_of(place)

    def run(job: int) -> Facts:
        def work(files: str) -> Facts:
            gate.wait(30)  # both are past the claim and at work
            place.write_bytes(f"{files}/weights", f"{job}".encode())
            place.write_bytes(f"{files}/confidence", f"{job}".encode())
            return Facts(by=job)

        return stage.run(work, said.append)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, range(2)))
    assert results[0] == results[1] == finished(place, stage.folder, Facts)
    winner = results[0]
    for file in ("weights", "confidence"):
        assert place.read_bytes(f"{winner.files}/{file}") == f"{winner.by}".encode(), "one job's, both of them"
    assert [name for name, _, _ in place.files() if name.endswith("/weights")] == [f"{winner.files}/weights"]
    assert len(said) == 1
    assert said[0].startswith("another job with the same settings finished first; its result is kept: ")


def test_two_jobs_with_other_settings_cannot_both_claim_a_folder(place: Location) -> None:
    gate = threading.Barrier(4)

    def run(seed: int) -> str:
        gate.wait(30)
        try:
            stage_of(place, seed=seed).run(lambda _: Facts(by=seed), silent)
        except InputError as error:
            return str(error)
        return "won"

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(run, range(4)))
    assert outcomes.count("won") == 1
    winner = outcomes.index("won")
    assert all(f"seed={winner}, now it is {loser}" in outcomes[loser] for loser in range(4) if loser != winner)
    done = finished(place, "runs/first/clusters", Facts)
    assert done is not None and done.by == winner


# ---- taking over from another run --------------------------------------------------------


def test_a_finished_stage_is_taken_over_where_the_settings_agree(place: Location) -> None:
    first = stage_of(place).run(Work(place), silent)
    said: list[str] = []
    second = stage_of(place, run="second", reuse="first").run(never, said.append)
    assert second == first and second.folder == "runs/first/clusters"
    assert said == [f"taken over from {place.show('runs/first/clusters')}"]
    # It is the second run's own from now on, also for a third that takes over from there.
    assert stage_of(place, run="second").run(never, silent) == first
    said.clear()
    assert stage_of(place, run="third", reuse="second").run(never, said.append) == first
    assert said == [f"taken over from {place.show('runs/first/clusters')}"]
    assert [name for name, _, _ in place.files("runs/third/clusters")] == ["done.json", "settings.json"]


@pytest.mark.parametrize("why", ["other settings", "unfinished", "no such run"])
def test_what_cannot_be_taken_over_is_done_anew(why: str, place: Location) -> None:
    if why == "other settings":
        stage_of(place, seed=1).run(lambda _: Facts(loss=9.0), silent)
    elif why == "unfinished":
        place.put_if_absent("runs/first/clusters/settings.json", SETTINGS)
    stage = stage_of(place, run="second", reuse="first")
    work = Work(place)
    assert stage.run(work, silent).folder == "runs/second/clusters" and work.times == 1


def test_a_run_that_was_begun_otherwise_takes_nothing_over(place: Location) -> None:
    stage_of(place).run(lambda _: Facts(), silent)
    stage_of(place, run="second", seed=1).run(lambda _: Facts(), silent)
    with pytest.raises(InputError, match="seed=1, now it is 0"):
        stage_of(place, run="second", reuse="first").run(never, silent)


@pytest.mark.parametrize("how", ["kept", "taken over again", "built on"])
def test_what_was_taken_over_and_is_gone_is_one_sentence(how: str, place: Location) -> None:
    stage_of(place).run(Work(place), silent)
    stage_of(place, run="second", reuse="first").run(never, silent)
    place.delete_folder("runs/first")
    sentence = (
        f"'{place.show('runs/second/clusters')}' was taken over from '{place.show('runs/first/clusters')}', "
        "which is gone; start a new run with --run."
    )
    ask: dict[str, Callable[[], Facts]] = {
        "kept": lambda: stage_of(place, run="second").run(never, silent),
        "taken over again": lambda: stage_of(place, run="third", reuse="second").run(never, silent),
        "built on": lambda: required(run_of(place, run="second"), Facts),
    }
    with pytest.raises(InputError) as caught:
        ask[how]()
    assert str(caught.value) == sentence


# ---- fingerprints and what builds on a stage ---------------------------------------------


def test_the_fingerprint_follows_from_stage_and_settings_and_not_from_the_run() -> None:
    store = Location("s3://bucket/prefix")
    stage = stage_of(store)
    assert len(stage.fingerprint) == 64
    same = [stage_of(store, run="second"), replace(stage, store=Location("out")), replace(stage, remedy="")]
    same.append(replace(stage, settings=dict(reversed(SETTINGS.items()))))
    assert {each.fingerprint for each in same} == {stage.fingerprint}
    other: list[Callable[[], Stage[Facts]]] = [
        lambda: stage_of(store, seed=1),
        lambda: stage_of(store, pool="abd"),
        lambda: stage_of(store, extra=None),
        lambda: replace(stage, folder="runs/first/embeddings"),
    ]
    assert len({make().fingerprint for make in other} | {stage.fingerprint}) == len(other) + 1


def test_what_a_stage_builds_on_is_asked_for_by_its_command(place: Location) -> None:
    with pytest.raises(InputError) as caught:
        required(run_of(place, run="night-1", store="s3://b/x"), Embedded)
    assert str(caught.value) == (
        f"Run 'night-1' has no finished embeddings on '{place.show()}'; "
        "first: hacon embed --run night-1 --store s3://b/x"
    )
    # One job takes over one stage: what takes over all of them is select.
    with pytest.raises(InputError, match=r"first: hacon select --from night-0 --run night-1 --store s3://b/x$"):
        required(run_of(place, run="night-1", store="s3://b/x", reuse="night-0"), Embedded)


def test_a_stage_that_refuses_its_input_can_be_begun_with_other_settings(place: Location) -> None:
    def refuses(files: str) -> Facts:
        raise InputError("lower cluster.k to 12")

    with pytest.raises(InputError, match="lower"):
        stage_of(place).run(refuses, silent)
    assert stage_of(place, **{"cluster.k": 12}).run(lambda _: Facts(loss=1.0), silent).loss == 1.0


def test_a_stage_that_refuses_its_input_leaves_the_settings_of_the_job_that_began_it(place: Location) -> None:
    """Both looked before either had begun."""
    looks = Location.is_file

    def refuses(files: str) -> Facts:
        raise InputError("not on this machine")

    def works(files: str) -> Facts:
        with pytest.raises(InputError, match="machine"):
            stage_of(place).run(refuses, silent)
        assert looks(place, f"{stage_of(place).folder}/settings.json")
        return Facts(loss=1.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Location, "is_file", lambda *_: False)
        assert stage_of(place).run(works, silent).loss == 1.0


@pytest.mark.parametrize("done", [True, False])
def test_a_job_that_began_a_stage_leaves_its_settings_to_another_one(place: Location, done: bool) -> None:
    """Which has come since, and is at work, or done."""
    stage = stage_of(place)

    def refuses(files: str) -> Facts:
        if done:
            stage.run(lambda _: Facts(loss=1.0), silent)
        else:
            place.write_bytes(f"{stage.folder}/files-theirs/part", b"")
        raise InputError("not on this machine")

    with pytest.raises(InputError, match="machine"):
        stage.run(refuses, silent)
    with pytest.raises(InputError, match="was begun with"):
        stage_of(place, seed=7).run(refuses, silent)


def test_a_stage_begun_before_keeps_its_settings_when_a_later_try_is_refused(place: Location) -> None:
    def killed(files: str) -> Facts:
        raise KeyboardInterrupt

    def refuses(files: str) -> Facts:
        raise InputError("not on this machine")

    with pytest.raises(KeyboardInterrupt):
        stage_of(place).run(killed, silent)
    with pytest.raises(InputError, match="machine"):
        stage_of(place).run(refuses, silent)
    with pytest.raises(InputError, match="was begun with"):
        stage_of(place, seed=7).run(refuses, silent)


def test_a_touch_is_said_in_words(tmp_path: Path) -> None:
    place = Location(str(tmp_path))
    claim(place, "pools/p", {"source_state": "3 files 90cb"}, REMEDY)
    with pytest.raises(InputError, match=r"added, removed, written anew or touched") as caught:
        claim(place, "pools/p", {"source_state": "3 files e70c"}, REMEDY)
    assert "90cb" not in str(caught.value)


def test_a_setting_that_decides_nothing_is_no_difference(tmp_path: Path) -> None:
    """Older versions claimed ``query.image_prefix``."""
    place = Location(str(tmp_path))
    claim(place, "runs/r/query", {"seed": 0, "query.image_prefix": "https://a"}, REMEDY)
    assert not claim(place, "runs/r/query", {"seed": 0}, REMEDY)
