"""what annotators gave back -> a batch of labels beside the run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from jobs.upkeep import run_upkeep
from pipeline.annotations.settle import counts_of
from pipeline.config import this_run
from pipeline.progress import counted, say
from pipeline.stages.labels import bring_labels, run_of
from pipeline.storage import Location

_NAMED = 3


def labels(arguments: argparse.Namespace, store: Location) -> None:
    """Bring labels, then print what came and the next command."""
    run = run_of(store, arguments.run, say)
    brought = bring_labels(run, arguments.files, arguments.key_column, arguments.label_column)
    settled = brought.settled
    if brought.number is None:
        print(f"\nThese labels were brought before: nothing is new. Run '{arguments.run}' has them.")
        return
    words = ", ".join(f"{status} {count}" for status, count in sorted(counts_of(settled).items()))
    print(f"\nBatch {brought.number} of run '{arguments.run}': {words or 'no image'}")
    if settled.empty:
        print(f"  {counted(settled.empty, 'answer')} without a label, and not skipped: left out")
    if settled.alpha is not None:
        share = 100 * (settled.agreement or 0)
        print(f"  annotators agree on {share:.0f}% of pairs, Krippendorff's alpha {settled.alpha:.2f}")
    if settled.contradictions:
        first = settled.contradictions[0][0]
        print(f"  {counted(len(settled.contradictions), 'image')} on which they differ, such as '{first}'")
    if settled.unknown:
        named = [f"'{key}'" + (f" (the closest is '{close}')" if close else "") for key, close in settled.unknown]
        print(f"  {counted(len(named), 'key')} not of this run: {'; '.join(named[:_NAMED])}")
    for name in brought.lists:
        print(f"  listed in {store.show(name)}")
    print(f"Next:\n  hacon reselect {this_run(run.config)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return run_upkeep("labels", labels, argv)


if __name__ == "__main__":
    sys.exit(main())
