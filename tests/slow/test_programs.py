"""The jobs as programs of their own, as a shell or `ray job submit` starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doc_blocks import blocks, run_block

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("argv", [("-m", "jobs.select"), ("-m", "jobs.cli", "select")])
def test_bad_input_is_one_sentence_and_leaves_nothing(argv: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, *argv, "--pool", "digits", "--budget", "0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "hacon select: The budget is 0; give the number of images to label, 1 or more, with --budget.\n"
    )
    assert list(tmp_path.iterdir()) == []


ON_RAY = blocks(on_ray=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("place", ON_RAY)
def test_a_block_of_the_pages_that_starts_ray_runs(place: str, tmp_path: Path) -> None:
    assert "report.html" in run_block(place, ON_RAY[place], tmp_path)
