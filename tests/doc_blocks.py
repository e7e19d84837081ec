"""The ``python`` blocks of the pages, run as they stand: each in a process and a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "docs/guide.md", "docs/strategies.md")
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(*, on_ray: bool) -> dict[str, str]:
    """Code by "page:line"; ``on_ray``: those that start Ray, or the others."""
    found = {}
    for page in PAGES:
        text = (ROOT / page).read_text()
        for match in _BLOCK.finditer(text):
            if ("hacon.select" in match[1]) == on_ray:
                found[f"{page}:{text[: match.start()].count(chr(10)) + 1}"] = match[1]
    return found


def run_block(place: str, code: str, folder: Path) -> str:
    """What it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{place}\n{done.stderr}"
    return done.stdout
