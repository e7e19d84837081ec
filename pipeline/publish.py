"""Re-runnable stages: claim the settings, work, publish with one small object written last.

A stage's folder holds ``settings.json``, written once at the start, and ``done.json``, written once at the end. A stage
that is done with the same settings is skipped. A stage that was begun with other settings is an error that names the
first difference. Every attempt writes to a folder of its own, and readers trust only the folder that ``done.json``
names. So two jobs at the same stage never mix their files, and only one of them is published.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from shlex import quote
from typing import Any, Generic, TypeVar

from pipeline.artifacts import fingerprint
from pipeline.config import RunConfig, decisive, settings_of, store_flag, this_run
from pipeline.errors import InputError, StoreError
from pipeline.results import Night, Published
from pipeline.run import Run, run_folder
from pipeline.storage import Location

Result = TypeVar("Result", bound=Published)

_IN_WORDS = {
    "source_state": "other files: since then some were added, removed, written anew or touched (their names, sizes and "
    "times are compared)"
}
"""A claimed key whose values say nothing to a person -> what it means that they differ."""
_UNDECIDED = frozenset(key for key, _, metadata in settings_of(RunConfig()) if not metadata["decides"])
"""Settings that decide no result. Older versions claimed some of them."""
_FINGERPRINT = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Stage(Generic[Result]):
    """One stage of one run: where it publishes, and what decides its result.

    ``settings`` are flat, JSON-ready, and include the fingerprints of the inputs. ``reuse`` is the folder of the same
    stage in another run. Its result is taken over if its settings are equal.
    """

    store: Location
    folder: str
    kind: type[Result]
    settings: Mapping[str, Any]
    remedy: str
    """What to do if it was begun with other settings; ends the error's sentence."""
    reuse: str | None = None

    @property
    def fingerprint(self) -> str:
        """Of the settings, including the fingerprints of the inputs."""
        return fingerprint(self.folder.rpartition("/")[2], json.dumps(dict(self.settings), sort_keys=True))

    def run(self, work: Callable[[str], Result], say: Callable[[str], None]) -> Result:
        """Call ``work`` unless the stage is done, and publish its result.

        Args:
            work: takes a folder for the files of this attempt, and returns the result.

        Returns:
            The result, with the fields of ``Published`` filled in.

        Raises:
            InputError: the stage was begun with other settings. Names the first difference.
        """
        first = claim(self.store, self.folder, dict(self.settings), self.remedy)
        found = self._found(say)
        if found is not None:
            return found
        began = time.perf_counter()
        files = f"{self.folder}/files-{uuid.uuid4().hex[:8]}"
        published: Result | None = None
        try:
            made = replace(work(files), folder=self.folder, files=files, fingerprint=self.fingerprint)
            published = self._publish(replace(made, seconds=round(time.perf_counter() - began, 2)), say)
        except StoreError:
            raise  # the settings were right: a checkpoint of them may lie there
        except InputError:
            # If no other job has begun, free the claim: the corrected settings must be accepted.
            if first and not self._of_others(files):
                self.store.delete_file(f"{self.folder}/settings.json")
            raise
        finally:
            # Ask the store: it may have stored done.json even if its response was lost or this job was stopped.
            if _files(published) != files and _files(self._done(self.folder)) != files:
                self.store.delete_folder(files)
        return published

    def _done(self, folder: str) -> Result | None:
        return finished(self.store, folder, self.kind)

    def _found(self, say: Callable[[str], None]) -> Result | None:
        """The published result, else that of the run to take over from, else None."""
        done = self._done(self.folder)
        if done is not None:
            check_there(self.store, self.folder, done)
            say(f"kept what is there: {self.store.show(self.folder)}")
            return done
        if self.reuse is not None and self.store.read_json(f"{self.reuse}/settings.json") == dict(self.settings):
            done = self._done(self.reuse)
            if done is not None:
                check_there(self.store, self.reuse, done)
                say(f"taken over from {self.store.show(done.folder)}")
                return self._publish(done, say)
        return None

    def _of_others(self, files: str) -> bool:
        """Whether another job with the same settings has written files or is done."""
        mine = files.removeprefix(f"{self.folder}/")
        return any(
            name == "done.json" or (name.startswith("files-") and not name.startswith(f"{mine}/"))
            for name, _, _ in self.store.files(self.folder)
        )

    def _publish(self, result: Result, say: Callable[[str], None]) -> Result:
        if self.store.put_if_absent(f"{self.folder}/done.json", result.to_dict()):
            return result
        say(f"another job with the same settings finished first; its result is kept: {self.store.show(self.folder)}")
        return self.kind.from_dict(self.store.read_json(f"{self.folder}/done.json"))


def claim(store: Location, folder: str, settings: Mapping[str, Any], remedy: str) -> bool:
    """Begin a folder with ``settings``, or check that it was begun with the same ones.

    Returns:
        Whether this call began it.

    Raises:
        InputError: it was begun with others. Names the first difference and ends with ``remedy``.
    """
    if store.put_if_absent(f"{folder}/settings.json", dict(settings)):
        return True
    before = store.read_json(f"{folder}/settings.json")
    for key in sorted({*before, *settings} - _UNDECIDED):
        then, now = before.get(key), settings.get(key)
        if then != now:
            fingerprints = all(isinstance(each, str) and _FINGERPRINT.fullmatch(each) for each in (then, now))
            difference = f"another {key} than this" if fingerprints else f"{key}={then}, now it is {now}"
            difference = _IN_WORDS.get(key, difference)
            raise InputError(f"'{store.show(folder)}' was begun with {difference}; {remedy}")
    return False


def stage_of(
    run: Run, kind: type[Result], inputs: Mapping[str, Any], remedy: str | None = None, *, reusable: bool = True
) -> Stage[Result]:
    """A stage of a run, with every setting that decides its result.

    Args:
        inputs: fingerprints of the stage's inputs, and settings whose value was derived.
        reusable: whether another run's result may be taken over.
    """
    config = run.config
    return Stage(
        run.store,
        run.folder(kind.stage),
        kind,
        {**decisive(config, kind.decided_by or kind.job), **inputs},
        remedy
        or f"start a new run that takes over what it can: --run NEW --from {quote(config.run)}{store_flag(config)}",
        reuse=run_folder(config.reuse, kind.stage) if reusable and config.reuse is not None else None,
    )


def finished(store: Location, folder: str, kind: type[Result]) -> Result | None:
    """The result of a published stage, or None."""
    done = store.read_json(f"{folder}/done.json")
    return None if done is None else kind.from_dict(done)


def last_night(store: Location, run: str) -> Night | None:
    """The last published night of a run; None where there was none after the first."""
    for number in reversed(store.folders(f"runs/{run}/{Night.stage}")):
        night = finished(store, night_folder(run, int(number)), Night)
        if night is not None:
            return night
    return None


def night_folder(run: str, number: int) -> str:
    """A night's folder on the store."""
    return f"runs/{run}/{Night.stage}/{number:04d}"


def required(run: Run, kind: type[Result]) -> Result:
    """The result of a stage of this run that another one builds on.

    Raises:
        InputError: it is not finished; names the command that makes it.
    """
    config = run.config
    result = finished(run.store, run.folder(kind.stage), kind)
    if result is None:
        # A single job takes over only its own stage.
        job, taken = (kind.job, "") if config.reuse is None else ("select", f" --from {quote(config.reuse)}")
        raise InputError(
            f"Run '{config.run}' has no finished {kind.stage} on '{run.store.show()}'; "
            f"first: hacon {job}{taken} {this_run(config)}"
        )
    check_there(run.store, run.folder(kind.stage), result)
    return result


def check_there(store: Location, folder: str, result: Published) -> None:
    """Raise InputError where ``folder`` took over a result of another run that is gone."""
    if result.folder != folder and not store.exists(result.files):
        raise InputError(
            f"'{store.show(folder)}' was taken over from '{store.show(result.folder)}', which is gone; "
            "start a new run with --run."
        )


def _files(result: Published | None) -> str | None:
    return None if result is None else result.files
