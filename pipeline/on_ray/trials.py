"""Trials on Ray Tune: a search space of trial names, one plain function, one small file on the store for each result.

Tune schedules trials, assigns CPUs and GPUs, and restarts a trial whose worker died. The rows on the store say what
is done. So an interrupted search resumes with the missing trials, and Tune's folder is temporary.
"""

from __future__ import annotations

import logging
import os
import random
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import ray
import torch
from ray import tune
from threadpoolctl import threadpool_limits

from pipeline.artifacts import Int64
from pipeline.config import TrialsConfig
from pipeline.errors import InputError
from pipeline.evaluate.classifiers import Resources
from pipeline.evaluate.files import FAILED, row_names, rows_in
from pipeline.evaluate.opened import Evaluation, Opened, opened
from pipeline.evaluate.parts import Parts
from pipeline.evaluate.samples import EvaluationData
from pipeline.evaluate.spec import TrialSpec
from pipeline.evaluate.stored_parts import stored_parts
from pipeline.on_ray.session import gpus, quieten, ray_session
from pipeline.on_ray.shared_parts import claim_part, fresh_clusters, make_parts, orders_part, parts_of
from pipeline.progress import Progress, counted
from pipeline.select import find
from pipeline.storage import Location

_PART = "shared part "
"""Prefix of a failed shared part's name among failed trials."""
_WORKER_DEATHS = 2
"""Restarts of a trial after its worker was lost, as when memory runs out. After one more loss it counts as failed."""
_TUNE = {
    # A row of ours is all that is kept of a trial. 300 trials of nothing on two cores: 39 ms each with Tune's own
    # files, 20 ms without (and 3.6 s with a new process for each, see reuse_actors).
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # An interruption ends the job at once, as in every other stage.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Our own line says how far it is, and failures are listed at the end.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}


class Result(Protocol):
    """The result of a trial."""

    def to_row(self) -> dict[str, Any]:
        """Flat and JSON-ready."""


@dataclass(frozen=True)
class Trials:
    """Trials of one kind."""

    evaluation: Evaluation
    folder: str
    """Where each row is put, as <trial>.json."""
    specs: Mapping[str, Any]
    """By the trial's name."""
    run: Callable[[Any, EvaluationData, Parts, Resources], Result]
    """A module's function: also what a test calls without Ray."""
    choices: Callable[[Any], list[TrialSpec]]
    """Spec -> the queries that its trial makes. They tell which shared parts it needs."""


def run_missing(
    trials: Trials, orders: Mapping[str, Int64], settings: TrialsConfig, say: Callable[[str], None]
) -> dict[str, str]:
    """Make the shared parts and run the trials that have no rows yet.

    Args:
        orders: published orders by name.

    Returns:
        The traceback by the name of each trial that failed; they are in failed.json too, beside the folder of the
        rows, also after an interruption.
    """
    if orders:  # also where all trials are done: they must not pass for another file's
        claim_part(trials.evaluation, orders_part(orders))
    store, failures = trials.evaluation.store, f"{trials.folder.rpartition('/')[0]}/{FAILED}"
    done = {*row_names(store, trials.folder)} & trials.specs.keys()
    left = {name: spec for name, spec in trials.specs.items() if name not in done}
    # What failed before is tried again; what failed of other grids stays known.
    known = (store.read_json(failures) or {}).items()
    before = {name: why for name, why in known if name not in trials.specs and not name.startswith(_PART)}
    store.write_json(failures, before)
    if not left:
        say(
            f"{'the 1 trial is' if len(done) == 1 else f'all {len(done)} trials are'} done: {store.show(trials.folder)}"
        )
        return {}
    with ray_session(say, store):
        share = _share(settings)
        queries = [query for spec in left.values() for query in trials.choices(spec)]
        unmade = make_parts(trials.evaluation, parts_of(trials.evaluation, queries, orders), say)
        record = partial(_record, store, failures, {**before, **{_PART + name: why for name, why in unmade.items()}})
        return _tune(replace(trials, specs=left), len(done), record, settings, share, say)


def rows_of(trials: Trials) -> list[dict[str, Any]]:
    """All rows on the store, including those of earlier calls, sorted by the trial's name."""
    return rows_in(trials.evaluation.store, trials.folder)


def _tune(
    trials: Trials,
    done: int,
    record: Callable[[dict[str, str]], None],
    settings: TrialsConfig,
    share: dict[str, float],
    say: Callable[[str], None],
) -> dict[str, str]:
    watch = _Watch(record, len(trials.specs), done, say)
    # Shuffled: by strategy, the slow ones together, the time to go would be wrong until the end.
    names = random.Random(0).sample(list(trials.specs), len(trials.specs))
    say(
        f"{counted(len(trials.specs), 'trial')} to run, {done} done before; "
        f"{share['cpu']:g} CPUs, {share['gpu']:g} GPUs each"
    )
    with _quiet_tune(), tempfile.TemporaryDirectory(prefix="hacon-tune-") as folder:
        tune.Tuner(
            tune.with_resources(tune.with_parameters(_trial, trials=trials, share=share), share),
            param_space={"trial": tune.grid_search(names)},
            tune_config=tune.TuneConfig(
                reuse_actors=True,  # a worker keeps its imports and data
                max_concurrent_trials=settings.parallel,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=folder,
                verbose=0,
                callbacks=[watch],
                failure_config=tune.FailureConfig(max_failures=_WORKER_DEATHS),
            ),
        ).fit()
    return watch.failed


def _record(store: Location, file: str, others: dict[str, str], failed: dict[str, str]) -> None:
    store.write_json(file, others | failed)


def _trial(config: dict[str, Any], trials: Trials, share: dict[str, float]) -> dict[str, Any]:
    """Run one trial in a worker. An exception is its result; Tune retries only if the worker dies."""
    quieten()
    name = config["trial"]
    threads = max(1, int(share["cpu"]))
    try:
        torch.set_num_threads(threads)
        with threadpool_limits(limits=threads):
            given = opened(trials.evaluation, share["gpu"] > 0)
            spec = trials.specs[name]
            result = trials.run(spec, given.data, _parts(given, trials.choices(spec)), given.resources)
    except Exception as error:  # noqa: BLE001 (recorded; the other trials go on)
        return {"failed": "".join(traceback.format_exception(error)).strip()}
    trials.evaluation.store.put_if_absent(f"{trials.folder}/{name}.json", result.to_row())
    return {"failed": ""}


def _parts(given: Opened, choices: list[TrialSpec]) -> Parts:
    needs = {
        scorer: {column for spec in choices if spec.scorer == scorer for column in _needs(spec.strategy)}
        for scorer in ("test", "labelled")
    }
    kept = stored_parts(given, needs["test"], honest=needs["labelled"])
    return replace(kept, fresh_clusters=partial(fresh_clusters, given))


def _needs(name: str) -> tuple[str, ...]:
    """Columns; an oracle or a published order needs none."""
    chosen_by = find(name)
    return () if chosen_by is None else chosen_by.needs


def _share(settings: TrialsConfig) -> dict[str, float]:
    """A trial's CPUs and GPUs.

    Raises:
        InputError: more than the cluster has. Tune would wait for it silently.
    """
    wanted, have = settings.gpus, ray.cluster_resources().get("CPU", 0)
    if wanted is None:
        wanted = 1.0 if settings.classifier != "probe" and gpus() else 0.0
    if wanted > gpus():
        raise InputError(f"A trial is to have {wanted:g} GPUs, and the cluster has {gpus()}; lower the setting 'gpus'.")
    if settings.cpus > have and not gpus():
        raise InputError(
            f"A trial is to have {settings.cpus:g} CPUs, and there are {have:g}; lower the setting 'cpus'."
        )
    return {"cpu": settings.cpus, "gpu": wanted}


def _name(trial: Any) -> str:
    return str(trial.trial_id)


@contextmanager
def _quiet_tune() -> Iterator[None]:
    """Tune's settings for the duration of the block."""
    before = {name: os.environ.get(name) for name in _TUNE}
    os.environ.update(_TUNE)
    log = logging.getLogger("ray.tune")
    level = log.level
    # It misses its own files, and tells of every worker that was lost: both are known here.
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Watch(tune.Callback):  # type: ignore[misc]  # Ray's hints are not followed
    """Reports progress and records failures."""

    def __init__(
        self, record: Callable[[dict[str, str]], None], trials: int, done: int, say: Callable[[str], None]
    ) -> None:
        self._say = say
        self._progress: Progress | None = None
        self._record = record
        self._done, self._left = done, trials
        self.failed: dict[str, str] = {}

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial ended, with a row or an error."""
        self._end(trials, trial, trial.last_result.get("failed", ""))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's worker was lost for the last time."""
        self._end(
            trials,
            trial,
            f"its worker was lost {trial.num_failures} times: killed, short of memory, or kept from the store",
        )

    def _end(self, trials: list[Any], trial: Any, error: str) -> None:
        if error:
            self.failed[trial.config["trial"]] = error
            self._record(self.failed)
        self._done, self._left = self._done + 1, self._left - 1
        if self._progress is None:  # starting workers takes longer than a trial and would spoil the forecast
            self._progress = Progress("trials", self._done + self._left, self._say, self._done)
            return
        # What waits takes this one's place at once.
        running = min(sum(each.status == "RUNNING" and each is not trial for each in trials) + 1, self._left)
        failed = f", {len(self.failed)} of them failed" if self.failed else ""
        self._progress.advance(f": {self._done} done{failed}, {running} running, {self._left - running} waiting")
