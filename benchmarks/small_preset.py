"""Preset ``small`` on an npz with labels: classes covered and entropy of the query, several seeds, beside random.

    python -m benchmarks.small_preset FILE.npz --budgets 11,23 --seeds 0,1,2 [--keep FOLDER] [--set KEY=VALUE ...]
    python -m benchmarks.small_preset --table FOLDER        # means over all that was kept there, as Markdown

The pure parts as the jobs run them (training loop, embedder, K-means, order), in one process and
without Ray; one training a seed, and every order at every temperature from it. Labels are read only
to count classes at the end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.artifacts import Float32, Uint8, confidence_at
from pipeline.cluster import kmeans
from pipeline.config import RunConfig, override
from pipeline.context import LocalContext
from pipeline.embed import Embedder
from pipeline.evaluate.coverage import classes_covered, entropy_bits, random_baseline
from pipeline.machine import cores
from pipeline.moco.confidence import ConfidenceAccumulator
from pipeline.moco.fit import fit_to_pool
from pipeline.moco.model import encoder_weights
from pipeline.moco.resident import ResidentPixels
from pipeline.moco.task import PretrainTask
from pipeline.moco.train import pretrain
from pipeline.presets import preset
from pipeline.select.pool_view import PoolView
from pipeline.select.registry import STRATEGIES, strategy


@dataclass(frozen=True)
class Trained:
    features: Float32
    confidence: ConfidenceAccumulator
    seconds: float


def load(file: str) -> tuple[Uint8, np.ndarray]:
    """The pool as ingest would make it: exact duplicates once."""
    arrays = np.load(file)
    images, labels = arrays["train_images"], arrays["train_labels"].ravel().astype(np.int32)
    images = images if images.ndim == 4 else images[..., None]
    digests = [hashlib.sha256(image.tobytes()).digest() for image in images]
    _, first = np.unique(np.array(digests, dtype="S32"), return_index=True)
    keep = np.sort(first)
    return np.ascontiguousarray(images[keep]), labels[keep]


def train(images: Uint8, config: RunConfig) -> Trained:
    device = torch.device("cpu")
    fitted, notes = fit_to_pool(config.pretrain, len(images), workers=1)
    task = PretrainTask(fitted, len(images), images.shape[-1], config.seed, window=len(images))
    context = LocalContext(device, voice=lambda text: print(text, flush=True))
    for note in notes:
        print(note)
    began = time.perf_counter()
    pretrain(task, ResidentPixels.of_array(images, device), context)
    seconds = time.perf_counter() - began
    assert context.last is not None
    embedder = Embedder(encoder_weights(context.last), fitted.arch, device)
    features = np.concatenate([embedder(images[start : start + 512]) for start in range(0, len(images), 512)])
    confidence = ConfidenceAccumulator(len(images), fitted.confidence_temperatures, fitted.repeats)
    confidence.load_state_dict(context.last.part("confidence"))
    print(json.dumps(context.last.facts["history"]), flush=True)
    return Trained(features, confidence, seconds)


def queries(trained: Trained, labels: np.ndarray, budget: int, config: RunConfig, k: int) -> list[dict[str, object]]:
    found = kmeans(trained.features, k, config.seed)
    rows = []
    for temperature in config.pretrain.confidence_temperatures:
        table = confidence_at(trained.confidence.table(), temperature)
        view = PoolView(table.sample_id, found.labels, found.distance, table.confidence, table.variability, k)
        for name in (name for name, each in STRATEGIES.items() if not each.missing(view)):
            picked = labels[strategy(name).query(view, budget, config.seed)]
            scores = {"covered": classes_covered(picked, labels.max() + 1), "entropy": entropy_bits(picked)}
            rows.append({"order": name, "temperature": temperature, "k": k, "budget": budget, **scores})
    return rows


def markdown(folder: Path) -> str:
    """Mean coverage and entropy over the seeds, a line for each order and temperature, K = budget (at most 30)."""
    rows = [row for file in sorted(folder.glob("*.json")) for row in _of_file(file)]
    cells = sorted({(row["set"], row["budget"]) for row in rows})
    lines = ["| | " + " | ".join(f"{name} {budget}" for name, budget in cells) + " |", "|---" * (len(cells) + 1) + "|"]
    for order, temperature in sorted({(row["order"], row["temperature"]) for row in rows}, reverse=True):
        line = []
        for name, budget in cells:
            found = [
                row
                for row in rows
                if (row["set"], row["budget"], row["order"], row["temperature"]) == (name, budget, order, temperature)
                and row["k"] == min(30, budget)
            ]
            singles = ", ".join(f"{row['covered']:.2f}" for row in found)
            mean = [np.mean([row[score] for row in found]) for score in ("covered", "entropy")]
            line.append(f"{mean[0]:.2f} {mean[1]:.2f} ({singles})")
        lines.append(f"| {order}, tau {temperature} | " + " | ".join(line) + " |")
    return "\n".join(lines)


def _of_file(file: Path) -> list[dict[str, Any]]:
    return [{"set": file.stem.rpartition("-")[0], **row} for row in json.loads(file.read_text())]


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("file", nargs="?")
    parse.add_argument("--table", type=Path, metavar="FOLDER", help="only print what was kept there")
    parse.add_argument("--budgets", default="11,23")
    parse.add_argument("--seeds", default="0,1,2")
    parse.add_argument("--keep", help="a folder for the rows (JSON) and features of every seed")
    parse.add_argument("--set", nargs="*", default=[])
    given = parse.parse_args()
    if given.table:
        print(markdown(given.table))
        return
    torch.set_num_threads(cores())
    images, labels = load(given.file)
    config = override(preset("small"), dict(item.split("=", 1) for item in given.set))
    budgets = [int(budget) for budget in given.budgets.split(",")]
    for budget in budgets:
        print("random", budget, random_baseline(labels, budget, classes=int(labels.max()) + 1))
    for seed in map(int, given.seeds.split(",")):
        seeded = replace(config, seed=seed)
        trained = train(images, seeded)
        rows = [
            {"seed": seed, "seconds": round(trained.seconds), **row}
            for budget in budgets
            for k in sorted({min(30, budget), 30})
            for row in queries(trained, labels, budget, seeded, k)
        ]
        for row in rows:
            print(json.dumps(row), flush=True)
        if given.keep:
            folder = Path(given.keep)
            folder.mkdir(parents=True, exist_ok=True)
            stem = f"{Path(given.file).stem}-{seed}"
            (folder / f"{stem}.json").write_text(json.dumps(rows))
            table = trained.confidence.table()
            confidence = np.asarray(table["confidence"]).reshape(-1, len(images))
            np.savez(folder / f"{stem}.npz", features=trained.features, confidence=confidence, labels=labels)


if __name__ == "__main__":
    main()
