"""HaCon and random under a network classifier, after a pre-training by ``benchmarks.recipe``; without Ray, on a GPU.

    python -m benchmarks.first_choice FILE.npz FOLDER --budgets 59,119 [--seeds 3] [--test FILE.npz]

Several trials share the GPU, each in a process of its own. A trial is that of `hacon benchmark`: HaCon clusters and
chooses anew for every seed (K = 30, or the budget where that is smaller), random is drawn until it covers all classes,
as in Table 1. What is not done after ``--seconds`` is given up, and said.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from benchmarks.recipe import carried
from benchmarks.small_preset import load
from pipeline.artifacts import Float32, Float64, Int64, Uint8, confidence_at
from pipeline.cluster import default_k, kmeans
from pipeline.embed import Embedder
from pipeline.evaluate import classifiers
from pipeline.evaluate.classifiers import Resources
from pipeline.evaluate.coverage import classes_covered
from pipeline.evaluate.metrics import quality
from pipeline.evaluate.samples import Samples
from pipeline.moco.confidence import ConfidenceAccumulator
from pipeline.moco.model import encoder_weights
from pipeline.presets import preset
from pipeline.select import PoolView, strategy

TEMPERATURE = 0.05
Trial = tuple[str, int, int, Int64]
"""(strategy, budget, seed, sample ids)."""

_DATA: dict[str, Samples | None] = {}
_CLASSIFIER = ""


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("file")
    parse.add_argument("folder", type=Path)
    parse.add_argument("--test", help="an npz with the test split, where FILE has none")
    parse.add_argument("--budgets", required=True)
    parse.add_argument("--seeds", type=int, default=3)
    parse.add_argument("--classifier", default="paper")
    parse.add_argument("--preset", default="medmnist")
    parse.add_argument("--processes", type=int, default=8)
    parse.add_argument("--seconds", type=float, default=600)
    given = parse.parse_args()
    began = time.perf_counter()
    images, labels = load(given.file)
    features, confidence = of_training(given.folder, images, given.preset)
    budgets = [int(each) for each in given.budgets.split(",")]
    trials = list(queries(features, confidence, labels, budgets, given.seeds))
    for name, budget, seed, ids in trials:
        print(f"{name} {budget} seed {seed}: covers {classes_covered(labels[ids], labels.max() + 1):.2f}", flush=True)
    print(f"queries after {time.perf_counter() - began:.0f} s", flush=True)
    context = multiprocessing.get_context("spawn")
    with context.Pool(given.processes, _open, (given.file, given.test, given.classifier)) as pool:
        results = pool.imap_unordered(_judge, trials)
        for done in range(len(trials)):
            left = given.seconds - (time.perf_counter() - began)
            try:
                print(results.next(timeout=max(left, 0.1)), flush=True)
            except multiprocessing.TimeoutError:
                print(f"given up after {given.seconds:.0f} s: {len(trials) - done} trials", flush=True)
                pool.terminate()
                break


def of_training(folder: Path, images: Uint8, name: str) -> tuple[Float32, Float64]:
    """Features (N, D), and confidence (N,) at the paper's temperature."""
    config = preset(name).pretrain
    sums = load_file(folder / "sums.safetensors")
    once = "confidence.draw_sum" not in sums
    confidence = ConfidenceAccumulator(len(images), config.confidence_temperatures, 1 if once else None)
    trained = carried(folder)
    confidence.load_state_dict(trained.part("confidence"))
    embedder = Embedder(encoder_weights(trained), config.arch, torch.device("cuda"))
    features = np.concatenate([embedder(images[start : start + 2048]) for start in range(0, len(images), 2048)])
    return features, confidence_at(confidence.table(), TEMPERATURE).confidence


def queries(
    features: Float32, confidence: Float64, labels: np.ndarray, budgets: list[int], seeds: int
) -> Iterator[Trial]:
    size, classes = len(labels), labels.max() + 1
    for budget in budgets:
        for seed in range(seeds):
            k = default_k(budget)
            found = kmeans(features, k, seed, backend="sklearn")
            view = PoolView(np.arange(size), found.labels, found.distance, confidence, k=k)
            yield "hard-to-contrast", budget, seed, strategy("hard-to-contrast").query(view, budget, seed)
            rng = np.random.default_rng(seed)
            ids = rng.choice(size, budget, replace=False)
            while classes_covered(labels[ids], classes) < 1:
                ids = rng.choice(size, budget, replace=False)
            yield "random_covered", budget, seed, ids


def _open(file: str, test: str | None, classifier: str) -> None:
    global _CLASSIFIER
    _CLASSIFIER = classifier
    images, labels = load(file)
    _DATA["train"] = _samples(images, labels)
    for split in ("val", "test"):
        with np.load(test if test and split == "test" else file) as arrays:
            found = f"{split}_images" in arrays
            _DATA[split] = _samples(arrays[f"{split}_images"], arrays[f"{split}_labels"].ravel()) if found else None


def _samples(images: Uint8, labels: np.ndarray) -> Samples:
    return Samples(np.arange(len(labels)), labels.astype(np.int64), read_images=lambda ids: images[ids])


def _judge(trial: Trial) -> str:
    name, budget, seed, ids = trial
    train, test = _DATA["train"], _DATA["test"]
    assert train is not None
    assert test is not None
    began = time.perf_counter()
    classes = int(test.labels.max()) + 1
    fitted: Any = classifiers.fit(
        _CLASSIFIER, train.take(np.sort(ids)), _DATA["val"], classes, seed, Resources(torch.device("cuda"))
    )
    found = quality(test.labels, fitted.predict(test), train.labels[ids])
    auc = "-" if found.auc is None else f"{found.auc:.1f}"
    return (
        f"{name} {budget} seed {seed}: AUC {auc}, accuracy {found.accuracy:.1f}, "
        f"balanced {found.balanced_accuracy:.1f} ({time.perf_counter() - began:.0f} s; {fitted.note})"
    )


if __name__ == "__main__":
    main()
