"""A working directory may hold modules of our packages' names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
THEIRS = "raise SystemExit('somebody elses code')"


def _python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Python as ``hacon`` starts it in ``folder``: the installation is found last."""
    begin = f"import sys; sys.path.append({str(ROOT)!r}); "
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-c", begin + code], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.mark.slow
@pytest.mark.parametrize("theirs", [["pipeline.py"], ["pipeline/__init__.py"], ["pipeline.py", "hacon.py"]])
def test_the_command_line_imports_ours(theirs: list[str], tmp_path: Path) -> None:
    for name in theirs:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(THEIRS)
    done = _python("import jobs.cli, pipeline, hacon; print(pipeline.__file__, hacon.__file__)", tmp_path)
    assert done.stdout.split() == [str(ROOT / "pipeline/__init__.py"), str(ROOT / "hacon/__init__.py")], done.stderr


@pytest.mark.slow
def test_the_python_door_imports_ours(tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text(THEIRS)
    (tmp_path / "jobs.py").write_text(THEIRS)
    done = _python("import hacon; print(len(hacon.strategies()) > 3)", tmp_path)
    assert done.stdout.split() == ["True"], done.stderr


def test_what_came_first_is_named(tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text("")
    done = _python("import pipeline, jobs", tmp_path)
    assert "ImportError: hacon has a package 'pipeline'" in done.stderr and str(tmp_path) in done.stderr
