"""THE SCHEDULED JOB: what is new in a growing archive, and the next images to label. What it does is
``pipeline/stages/reselect.py``. Also: ``hacon reselect``, and ``ray job submit --working-dir . -- python -m
jobs.reselect ...``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from shlex import quote

from jobs.arguments import check_taken_as_it_is, run_job
from pipeline.cluster.drift import ASSIGN, RECLUSTER
from pipeline.config import store_flag, this_run
from pipeline.progress import counted
from pipeline.results import HANDED_OUT, QUERY, Night
from pipeline.run import Run
from pipeline.stages.archive import FIRST
from pipeline.stages.reselect import reselect

DRIFTED = 3
"""Exit code: the query is there, and a person should decide about the features."""


def reselect_job(run: Run) -> int:
    """Look at the archive, then print what came of it and the next command."""
    check_taken_as_it_is(run, "a later query", without=("ingest.source",))
    night, show = reselect(run), run.store.show
    if night is None:
        print("\nNothing is new and nothing came back: no query.")
        return 0
    totals = ", ".join(f"{what.replace('_', ' ')} {count}" for what, count in night.totals.items())
    print(f"\nNight {night.number}: {counted(night.held, 'image')} in the archive; of all queries {totals}")
    if night.issued:
        print(
            f"Query {night.query}, {counted(night.issued, 'image')} to label next:\n  {show(night.query_folder)}\n"
            f"When labels come back:\n  hacon labels --from FILE {this_run(run.config)}"
        )
    else:
        print("No query: there is nothing that asks for one.")
    if night.verdict is None or night.verdict["name"] == ASSIGN or night.verdict["done"]:
        return 0
    print(f"The archive has changed. {night.verdict['words']}.\nTo {night.verdict['name']}:\n  {_remedy(run, night)}")
    return DRIFTED


def _remedy(run: Run, night: Night) -> str:
    config = run.config
    if night.verdict is not None and night.verdict["name"] == RECLUSTER:
        return f"hacon reselect --set drift.recluster_up_to={night.held} {this_run(config)}   (from the next night on)"
    # The first query's own table says the same.
    done = run.store.address(f"{night.query_folder}/{QUERY if night.query == FIRST else HANDED_OUT}")
    return (
        f"hacon select --pool {quote(config.ingest.source)} --budget {config.query.budget} --labelled {quote(done)} "
        f"--run {quote(f'{config.run}-anew')}{store_flag(config)}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_job("reselect", reselect_job, argv)


if __name__ == "__main__":
    sys.exit(main())
