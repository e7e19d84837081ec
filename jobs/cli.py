"""``hacon JOB ...``: every job under one name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

JOBS = {
    "select": "the main job: from images to query and report, all six in one",
    "ingest": "images anywhere -> a pool on the store",
    "pretrain": "pool -> MoCo v2 weights and every image's confidence",
    "embed": "pool + weights -> features",
    "cluster": "features -> K clusters",
    "query": "clusters + confidence -> the order in which to label",
    "report": "everything -> one HTML page",
}


def usage() -> str:
    """What ``hacon --help`` prints."""
    lines = [
        "hacon: which images of an unlabelled pool to label first",
        "",
        "  hacon JOB --help",
        "",
        *(f"  {name:<10} {purpose}" for name, purpose in JOBS.items()),
        "",
        "  hacon select --pool digits --budget 20           try it: real images, no network",
        "  hacon select --pool folder:./scans --budget 50   your own images",
        "  hacon select --pool folder:s3://b/scans --budget 50 --store s3://b/hacon",
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] not in JOBS:
        print(f"hacon: there is no job '{arguments[0]}'; choose one of {', '.join(JOBS)}.", file=sys.stderr)
        return 2
    # Imported here, so that `hacon --help` answers at once.
    job = importlib.import_module(f"jobs.{arguments[0]}")
    code: int = job.main(arguments[1:])
    return code


if __name__ == "__main__":
    sys.exit(main())
