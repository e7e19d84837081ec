"""Row 9: what a run costs that has next to nothing to do, and where it goes.

``hacon select`` on scikit-learn's digits (1,797 images of 8x8) with one epoch, as a process of its own on a fresh
store, timed from its start to its end. Where it goes: every stage says in its done.json how long it took; Ray's start
ends with our line about Ray, whose time of arrival is taken; the imports are timed by themselves. Training's, which one
machine does in the job's own process, are loaded beside Ray's start; those of Ray's first worker are between stages.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from speed.measure import Row

GOAL = 45.0
ROOT = Path(__file__).resolve().parents[1]
SELECT = ("-m", "jobs.select", "--pool", "digits", "--budget", "20", "--set", "pretrain.epochs=1")
_OF_RUN = ("pretrain", "embeddings", "clusters", "query", "report")
STAGES = ("pools/digits", *(f"runs/default/{stage}" for stage in _OF_RUN))


def measure(rounds: int = 3) -> Row:
    runs = sorted((run() for _ in range(rounds)), key=lambda spent: spent["all"])
    spent = runs[len(runs) // 2]
    whole = spent["all"]
    imports = {
        "what training imports, beside Ray's start": seconds_of_import("pipeline.on_ray.training_worker"),
        "what Ray's first worker imports": seconds_of_import("pipeline.on_ray.pool_maker"),
    }
    spread = f"{runs[0]['all']:.1f} to {runs[-1]['all']:.1f} s"
    return Row(
        "9. hacon select --pool digits --budget 20 with one epoch, wall",
        f"{whole:.1f} s",
        f"<= {GOAL:.0f} s on 2 cores",
        whole <= GOAL,
        [
            (f"{rounds} runs, fastest and slowest; below, the middle one", spread),
            *((what, f"{value:.1f} s ({value / whole:.0%})") for what, value in spent.items() if what != "all"),
            *((f"Python's start and {what}, by themselves", f"{value:.1f} s") for what, value in imports.items()),
        ],
    )


def run() -> dict[str, float]:
    """Seconds of one run, by what they went for; "all": from start to end."""
    # A Ray of its own, whatever cluster happens to run.
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with tempfile.TemporaryDirectory() as store:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *SELECT, "--store", store], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        lines = [(time.perf_counter() - began, line) for line in process.stdout]
        code = process.wait()
        whole = time.perf_counter() - began
        if code:
            raise RuntimeError(f"hacon select ended with {code}: {''.join(line for _, line in lines)}")
        stages = {stage: json.loads((Path(store) / stage / "done.json").read_text())["seconds"] for stage in STAGES}
    # Afterwards, so that it warms no disk cache for the run.
    imports = seconds_of_import("jobs.select")
    ray_started = next(at for at, line in lines if "  Ray " in line)
    results_told = next(at for at, line in lines if "images to label first" in line)
    spent = {
        "Python's start and imports (timed by themselves)": imports,
        "Ray's start (until our line about it, less the imports)": ray_started - imports,
        **{f"stage {stage.rpartition('/')[2]}": seconds for stage, seconds in stages.items()},
    }
    spent["between the stages (the first Ray worker's start, the source's survey)"] = results_told - sum(spent.values())
    return {**spent, "Ray's end and Python's": whole - results_told, "all": whole}


def seconds_of_import(module: str) -> float:
    """Of a Python that does nothing else."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], cwd=ROOT, check=True)
    return time.perf_counter() - began
