"""Every ``python`` block of the pages below runs as it stands, each in a process and a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("docs/strategies.md",)
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str]]:
    """(page:line, code)."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text()
        found += [(f"{page}:{text[: match.start()].count(chr(10)) + 1}", match[1]) for match in _BLOCK.finditer(text)]
    return found


@pytest.mark.parametrize(("place", "code"), blocks(), ids=[place for place, _ in blocks()])
def test_a_block_runs(place: str, code: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{place}\n{done.stderr}"


def test_every_page_has_a_block() -> None:
    assert {place.partition(":")[0] for place, _ in blocks()} == {*PAGES}
