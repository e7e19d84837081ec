"""What benchmark and cycles leave on the store, and where: for those who write it and for the page that draws it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pipeline.publish import finished
from pipeline.results import SharedPart
from pipeline.run import run_folder
from pipeline.storage import Location

TRIALS, CURVES = "benchmark/trials", "cycles/trials"
"""Folders of a run with one JSON file a trial, or a curve: its row."""
FAILED = "failed.json"
"""Beside such a folder: why trials failed, by their names."""
MAP_OF_IMAGES, MAP_OF_FEATURES = "learnability-images", "learnability-features"
"""Shared parts that hold the ground-truth map, by what it was trained on."""
ARRAYS = "arrays.safetensors"
"""The one file of a shared part."""
_READERS = 16


def part_folder(run: str, part: str) -> str:
    """Where a run keeps a shared part."""
    return run_folder(run, f"evaluation/{part}")


def part_arrays(store: Location, run: str, part: str) -> tuple[dict[str, Any], SharedPart] | None:
    """A finished part: its arrays, and its stage's result; None where it is not there."""
    done = finished(store, part_folder(run, part), SharedPart)
    if done is None:
        return None
    from safetensors.numpy import load

    return load(store.read_bytes(f"{done.files}/{ARRAYS}")), done


def row_names(store: Location, folder: str) -> list[str]:
    """Of the trials whose rows are in a folder, sorted."""
    return sorted(name.removesuffix(".json") for name, _, _ in store.files(folder) if name.endswith(".json"))


def rows_in(store: Location, folder: str) -> list[Any]:
    """All rows of a folder, sorted by the trial's name."""
    with ThreadPoolExecutor(_READERS) as readers:  # on S3 each takes as long as a letter
        return list(readers.map(lambda name: store.read_json(f"{folder}/{name}.json"), row_names(store, folder)))
