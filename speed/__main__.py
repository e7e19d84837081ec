"""``make speed``: every row of the table in one run, printed and written to docs/speed.md.

    python -m speed [--only NAME ... | --write]

A row is a module of this folder with ``measure() -> Row``. Each runs in a process of its own, one after the
other, with nothing else on the machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from speed.measure import Row, hardware, in_a_process_of_its_own, measure_row

ROWS: dict[str, str] = {
    "training": "training_step",
    "lightly": "lightly_moco",
    "views": "views",
    "streaming": "streaming",
    "embedding": "embedding",
    "clustering": "clustering",
    "growth": "growth",
    "accumulator": "accumulator",
    "fixed-cost": "fixed_cost",
    "checkpoint": "checkpoint",
    "decoding": "decoding",
    "sums": "sums",
    "held": "held",
}
"""Name -> the module that measures it, in the order of the table."""
RESULTS = Path(__file__).resolve().parents[1] / "docs" / "speed.md"
CPU = "<!-- measured by make speed -->"
"""Everything below this line is written anew; what is above it (figures of other machines) stays."""


def main() -> int:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parse.add_mutually_exclusive_group()
    which.add_argument("--only", nargs="+", choices=ROWS, metavar="NAME", help=f"of {', '.join(ROWS)}")
    which.add_argument("--write", action="store_true", help="write docs/speed.md, row by row")
    given = parse.parse_args()
    rows: dict[str, Row] = {}
    for name in given.only or ROWS:
        try:
            rows[name], seconds, _ = in_a_process_of_its_own(measure_row, ROWS[name])
        except RuntimeError as error:  # the other rows are worth an hour and a half
            rows[name], seconds = Row(name, f"failed: {error}", "", False), 0.0
        print(f"{name}: {rows[name].measured} (goal {rows[name].goal}; {seconds:.0f} s)", flush=True)
        for what, figure in rows[name].details:
            print(f"    {what}: {figure}", flush=True)
        if given.write:
            kept = RESULTS.read_text().partition(CPU)[0] if RESULTS.exists() else "# Results\n\n"
            RESULTS.write_text(f"{kept}{CPU}\n\n{page(rows)}")
    return 1 if any(row.measured.startswith("failed") for row in rows.values()) else 0


def page(rows: dict[str, Row]) -> str:
    """The table and the figures behind it, as Markdown."""
    changed = ("git", "status", "--porcelain", "--untracked-files=no", "--", ".", f":(exclude){RESULTS}")
    commit = _said("git", "rev-parse", "--short", "HEAD") + ("-dirty" if _said(*changed) else "")
    words = {True: "yes", False: "**no**", None: "not measured"}
    lines = [
        f"## {time.strftime('%Y-%m-%d')}, {hardware()}, commit {commit}",
        "",
        "| | measured | goal | met |",
        "|---|---|---|---|",
        *(f"| {row.what} | {row.measured} | {row.goal} | {words[row.met]} |" for row in rows.values()),
    ]
    for row in rows.values():
        lines += ["", f"### {row.what}", "", *(f"* {what}: {figure}" for what, figure in row.details)]
    return "\n".join(lines) + "\n"


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
