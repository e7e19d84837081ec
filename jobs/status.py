"""one run -> what each of its stages is, and what is next."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from jobs.upkeep import run_upkeep, size_in_words
from pipeline.progress import counted
from pipeline.runs import RunState, StageState, run_state
from pipeline.storage import Location


def status(arguments: argparse.Namespace, store: Location) -> None:
    """Print the state of the run and of its stages."""
    run = run_state(store, arguments.run)
    if arguments.json:
        print(json.dumps(run.to_dict(), indent=1, ensure_ascii=False))
        return
    print(f"{run.run}: {_facts(run)}")
    for stage in run.stages:
        print(f"  {stage.stage:<11} {_words(stage, run.run)}".rstrip())
    if run.night is not None:
        print(f"  night {run.night['number']:<5} {_night(run.night)}")
    if run.at_work is not None:
        print(f"At work: {run.at_work}")
    if run.needed_by:
        print(f"Runs that build on it: {', '.join(run.needed_by)}")
    print(f"Next:\n  {run.next}")


def _facts(run: RunState) -> str:
    facts = [
        "finished" if run.state == "finished" else f"not finished: {run.state} is not done",
        f"pool {run.pool}" if run.pool else "",
        f"{counted(run.images, 'image')}" if run.images is not None else "",
        f"a query of {run.budget} by {run.order}" if run.budget is not None else "",
        size_in_words(run.bytes),
    ]
    return ", ".join(fact for fact in facts if fact)


def _night(night: dict[str, Any]) -> str:
    totals = ", ".join(f"{what.replace('_', ' ')} {count}" for what, count in night["totals"].items())
    verdict = "" if night["verdict"] is None else f"; drift: {night['verdict']['name']}"
    return f"{night['at']}, {counted(night['images'], 'image')}, query {night['query']}; {totals}{verdict}"


def _words(stage: StageState, run: str) -> str:
    if stage.state == "begun":
        return f"begun, or broken off; last written {stage.when}"
    if stage.state == "none":
        return "not begun"
    of = "" if stage.run == run else f", taken over from {stage.run}"
    return f"finished {stage.when} in {stage.seconds:g} s{of}"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_upkeep("status", status, argv)


if __name__ == "__main__":
    sys.exit(main())
