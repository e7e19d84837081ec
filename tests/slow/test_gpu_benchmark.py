"""Every row of the GPU's benchmark, tiny on a CPU: a machine with a GPU is lent for minutes, and a slip costs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from speed import gpu


@pytest.mark.usefixtures("tiny_encoder")
@pytest.mark.parametrize("name", gpu.ROWS)
def test_all_of_a_row_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    gpu.print_row(name, gpu.Here(torch.device("cpu"), smoke=True))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("* ")]
    assert len(lines) >= 2 and all(": " in line for line in lines)


def test_a_row_that_fails_or_outruns_its_time_is_said_and_the_next_begins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    programs = {"training": "raise MemoryError", "loss": "import time; time.sleep(60)", "profile": "print(1)"}
    start = subprocess.Popen

    def instead(command: list[str], **named: int) -> subprocess.Popen[bytes]:
        return start([sys.executable, "-c", programs[command[-2]]], **named)

    monkeypatch.setattr(subprocess, "Popen", instead)
    monkeypatch.setattr(sys, "argv", ["gpu", "--smoke", "--budget-seconds", "4", "--only", *programs])
    assert gpu.main() == 1
    said = capsys.readouterr().out
    assert "exit code 1" in said and "out of time" in said
    assert said.endswith("failed: training, loss, profile\n") or said.endswith("failed: training, loss\n")


def test_rows_need_neither_ray_nor_boto3(tmp_path: Path) -> None:
    """A machine that is lent has none of them. All that a row imports at its start is imported with the module."""
    absent = ("ray", "boto3", "botocore", "cuml", "lightly", "faiss", "medmnist", "umap")
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({absent}))\n")
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "speed.gpu", "--smoke", "--only", "views"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{root}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ours, views" in done.stdout and "failed: none" in done.stdout
