"""One short file a job: arguments, one call, what to look at next."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).resolve().parents[1] / "pipeline" / "pinned.py"), run_name="pinned")
