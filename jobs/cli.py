"""``hacon JOB ...``: every job under one name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from jobs.arguments import JOBS, UPKEEP, parser, settled_arguments
from jobs.ending import ended
from pipeline import __version__


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
    name = f"hacon {arguments[0]}" if arguments and arguments[0] in JOBS else "hacon"
    return ended(name, lambda: _main(arguments))


def _main(arguments: list[str]) -> int:
    if arguments[:1] == ["--version"]:
        print(f"hacon {__version__}")
        return 0
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] not in JOBS:
        print(f"hacon: there is no job '{arguments[0]}'; choose one of {', '.join(JOBS)}.", file=sys.stderr)
        return 2
    if {"-h", "--help"} & set(arguments[1:]):
        parser(arguments[0]).print_help()
        return 0
    if arguments[0] not in UPKEEP:
        settled_arguments(arguments[0], arguments[1:])
    # Imported only now, so that help, and words about bad arguments, come at once.
    job = importlib.import_module(f"jobs.{arguments[0]}")
    code: int = job.main(arguments[1:])
    return code


if __name__ == "__main__":
    sys.exit(main())
