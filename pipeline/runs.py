"""The runs of a store: their state, which builds on which, and removal of one.

Everything is read from the store, without Ray: the saved settings of a run and the results of its stages.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pipeline.artifacts import pool_folder
from pipeline.config import RunConfig, override, this_run
from pipeline.data.catalogue import pool_name
from pipeline.errors import InputError
from pipeline.lease import holder
from pipeline.plan import stages_of
from pipeline.publish import finished, last_night
from pipeline.results import STAGES, Clustered, Embedded, Ingested, Published, Queried
from pipeline.run import ARRAYS, CONFIG, next_command, run_folder, saved_config
from pipeline.storage import Location

DELETED = "deleted.json"
"""Marks a deleted run of which some stages are kept, because other runs build on them."""


@dataclass(frozen=True)
class StageState:
    """One stage of a run."""

    stage: str
    state: str
    """finished, begun (running or interrupted), or none."""
    when: str | None = None
    """UTC, of the last file written; ISO 8601."""
    seconds: float | None = None
    run: str | None = None
    """The run that holds its files: this one, or the one that it was taken over from."""


@dataclass(frozen=True)
class RunState:
    """One run of a store."""

    run: str
    state: str
    """finished, or the first unfinished stage."""
    when: str | None
    """UTC, of the last file written; ISO 8601."""
    images: int | None
    pool: str | None
    budget: int | None
    order: str | None
    bytes: int
    """In the run's own folder. Pools are not counted."""
    builds_on: tuple[str, ...]
    needed_by: tuple[str, ...]
    """Runs that build on this one."""
    next: str
    """The next command."""
    stages: tuple[StageState, ...]
    night: dict[str, Any] | None = None
    """The last later look at a growing archive: number, at, images, query, issued, totals, verdict. None: none yet."""
    at_work: str | None = None
    """The job that holds the run's lease: which, where, since when."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class Removal:
    """What deleting a run removes."""

    run: str
    folders: tuple[str, ...]
    """On the store, in the order of deletion."""
    kept: dict[str, tuple[str, ...]]
    """Folder of each stage that stays -> the runs that build on it."""
    files: int
    bytes: int


def list_runs(store: Location) -> list[RunState]:
    """Every run of the store except deleted ones, by name."""
    names = _names(store)
    uses = {name: _uses(store, name) for name in names}
    return [_state(store, name, uses) for name in names]


def run_state(store: Location, run: str) -> RunState:
    """One run.

    Raises:
        InputError: there is none of that name.
    """
    _check_there(store, run)
    uses = {name: _uses(store, name) for name in _names(store)}
    with suppress(OSError):  # to see whether a holder lives, something must be written
        working = holder(store, run)
        return replace(_state(store, run, uses), at_work=None if working is None else working.words)
    return _state(store, run, uses)


def removal_of(store: Location, run: str) -> Removal:
    """What ``remove`` would delete: everything of the run that no other run uses.

    That is its stages, its pool, and stages of deleted runs on which only this one was built.

    Raises:
        InputError: there is no such run.
    """
    _check_there(store, run)
    others = {name: _uses(store, name) for name in _names(store) if name != run}
    wanted = {folder: tuple(name for name, folders in others.items() if folder in folders) for folder in _used(others)}
    own = [run_folder(run, name) for name in store.folders(f"runs/{run}")]
    kept = {folder: wanted[folder] for folder in own if folder in wanted}
    left = [
        folder
        for folder in _uses(store, run)
        if folder not in own and folder not in wanted and _deleted(store, _run_of(folder))
    ]
    needed = [_inputs(store, name) for name in others]
    unused = {*(_inputs(store, run) or ())}.difference(*(each or () for each in needed))
    # If the inputs of any other run are unknown, it may use these.
    inputs = [] if None in needed else sorted(unused)
    # Last stages first, so that an interrupted deletion leaves a run that can be continued.
    order = {f"runs/{run}/{kind.stage}": place for place, kind in enumerate(STAGES)}
    going = sorted((each for each in own if each not in kept), key=lambda folder: -order.get(folder, len(order)))
    folders = (*going, *left, *inputs)
    listed = [size for folder in folders for _, size, _ in store.files(folder)]
    return Removal(run, folders, kept, len(listed), sum(listed))


def remove(store: Location, removal: Removal) -> None:
    """Delete what ``removal_of`` found. After an interruption it can be called again."""
    for folder in removal.folders:
        store.delete_file(f"{folder}/done.json")  # first: a reader must not trust half a stage
        store.delete_folder(folder)
    if removal.kept:
        store.write_json(f"runs/{removal.run}/{DELETED}", {"kept": removal.kept})
        store.delete_file(run_folder(removal.run, CONFIG))
    else:
        store.delete_folder(f"runs/{removal.run}")
    for run in {_run_of(folder) for folder in removal.folders if folder.startswith("runs/")}:
        if _deleted(store, run) and not store.folders(f"runs/{run}"):
            store.delete_folder(f"runs/{run}")


def _names(store: Location) -> list[str]:
    return [name for name in store.folders("runs") if not _deleted(store, name)]


def _deleted(store: Location, run: str) -> bool:
    """A new run under a deleted run's name has settings again, so it does not count as deleted."""
    return store.is_file(run_folder(run, DELETED)) and not store.is_file(run_folder(run, CONFIG))


def _check_there(store: Location, run: str) -> None:
    names = _names(store)
    if run not in names:
        have = f"there are {', '.join(names)}" if names else "it has none"
        raise InputError(f"There is no run '{run}' on '{store.show()}'; {have}.")


def _results(store: Location, run: str) -> Iterator[tuple[type[Published], Published | None]]:
    for kind in STAGES:
        yield kind, finished(store, run_folder(run, kind.stage), kind)


def _uses(store: Location, run: str) -> list[str]:
    """Folders that hold the results of a run's stages: its own and those of other runs."""
    return [done.folder for _, done in _results(store, run) if done is not None]


def _used(uses: dict[str, list[str]]) -> list[str]:
    return sorted({folder for folders in uses.values() for folder in folders})


def _run_of(folder: str) -> str:
    return folder.split("/")[1]


def _config(store: Location, run: str) -> RunConfig | None:
    """None: not saved yet, or not readable by this version."""
    try:
        saved = saved_config(store, run)
        return None if saved is None else override(RunConfig(), saved)
    except InputError:
        return None


def _inputs(store: Location, run: str) -> list[str] | None:
    """Folders of a run's inputs: its pool, and an array given to ``hacon.select``. None: unknown."""
    config = _config(store, run)
    if config is None or not config.ingest.source:
        return None
    arrays = f"npz:{store.address(ARRAYS)}/"
    below = config.ingest.source.removeprefix(arrays) if config.ingest.source.startswith(arrays) else None
    return [pool_folder(pool_name(config.ingest)), *([] if below is None else [f"{ARRAYS}/{below.partition('/')[0]}"])]


def _pool(store: Location, run: str) -> str | None:
    config = _config(store, run)
    return None if config is None or not config.ingest.source else pool_name(config.ingest)


def _state(store: Location, run: str, uses: dict[str, list[str]]) -> RunState:
    files = store.files(f"runs/{run}")
    results = dict(_results(store, run))
    config = _config(store, run)
    wanted = STAGES if config is None else stages_of(config)
    stages = tuple(_stage(run, kind, results[kind], files) for kind in wanted)
    embedded, queried, clustered = results[Embedded], results[Queried], results[Clustered]
    assert embedded is None or isinstance(embedded, Embedded)
    assert queried is None or isinstance(queried, Queried)
    assert clustered is None or isinstance(clustered, Clustered)
    pool = _pool(store, run)
    ingested = None if pool is None else finished(store, pool_folder(pool), Ingested)
    size = embedded.size if embedded else ingested.manifest.size if ingested else None
    night = _night(store, run)
    unfinished = next((each.stage for each in stages if each.state != "finished"), None)
    config = config or RunConfig(run=run, store=store.uri)
    if unfinished is None and size is not None and clustered is not None:
        after = next_command(config, size, clustered.k) if night is None else f"hacon reselect {this_run(config)}"
    else:
        after = f"hacon select {this_run(config)}"
    return RunState(
        run=run,
        state="finished" if unfinished is None else unfinished,
        when=_when(files),
        images=size,
        pool=pool,
        budget=queried.budget if queried else None,
        order=queried.order if queried else None,
        bytes=sum(size for _, size, _ in files),
        builds_on=tuple(sorted({_run_of(folder) for folder in uses[run]} - {run})),
        needed_by=tuple(name for name, folders in uses.items() if name != run and run in map(_run_of, folders)),
        next=after,
        stages=stages,
        night=night,
    )


def _night(store: Location, run: str) -> dict[str, Any] | None:
    last = last_night(store, run)
    if last is None:
        return None
    told = {name: getattr(last, name) for name in ("number", "at", "query", "issued", "totals", "verdict", "churn")}
    return {**told, "images": last.held}


def _stage(run: str, kind: type[Published], done: Published | None, files: list[tuple[str, int, int]]) -> StageState:
    mine = [each for each in files if each[0].startswith(f"{kind.stage}/")]
    if done is None:
        return StageState(kind.stage, "begun" if mine else "none", _when(mine))
    return StageState(kind.stage, "finished", _when(mine), done.seconds, _run_of(done.folder))


def _when(files: list[tuple[str, int, int]]) -> str | None:
    """When the newest file was written."""
    if not files:
        return None
    return datetime.fromtimestamp(max(time for _, _, time in files) / 1e9, UTC).isoformat(timespec="seconds")
