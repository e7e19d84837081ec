"""Rows 1, 3, 5 and 8 on one NVIDIA GPU: ResNet-50, bfloat16, 28 x 28 x 3.

    python -m benchmarks.gpu [--only NAME ...] [--features FILE.npy]

The pure parts alone: no Ray is needed. Ratios as on a CPU (see the rows' own modules); the device is waited for
before a clock is read. The steps are those of presets ``medmnist`` (batch 4,096, queue 65,536) and ``cifar10-lt``
(batch 512, queue 4,096), both with batch norm over eight splits. The bare step comes as torch runs it, and with its
encoders as CUDA graphs.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.clustering import CHUNK, features
from benchmarks.measure import alternate, lacking, ratio, speed
from benchmarks.pool import images, many
from benchmarks.training_step import BareStep, ResidentTraining, two_views
from benchmarks.views import both, kornia_transform
from pipeline import device as devices
from pipeline.artifacts import Float32, Uint8
from pipeline.cluster import kmeans
from pipeline.data.keyed import sample_keys
from pipeline.data.views import RGB, make_views, normalise
from pipeline.embed import Embedder
from pipeline.moco.confidence import ConfidenceAccumulator
from pipeline.moco.model import build_encoder
from pipeline.moco.objective import instance_probability
from pipeline.moco.task import PretrainTask
from pipeline.presets import preset

DEVICE = torch.device("cuda")
STEPS, ROUNDS = 20, 5
SIZE = 11_959
"""BloodMNIST's training split."""

Lines = list[tuple[str, str]]


def main() -> int:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--only", nargs="+", choices=ROWS, metavar="NAME", help=f"of {', '.join(ROWS)}")
    parse.add_argument("--features", metavar="FILE.npy", help="(N, D) of a run, for row clusters")
    given = parse.parse_args()
    if given.features:
        ROWS["clusters"] = partial(clusters, Path(given.features))
    if not torch.cuda.is_available():
        print("There is no GPU here; python -m benchmarks measures the CPU.", file=sys.stderr)
        return 2
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    for name in given.only or ROWS:
        print(f"\n### {name}\n", flush=True)
        for what, figure in ROWS[name]():
            print(f"* {what}: {figure}", flush=True)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return 0


def waited(call: Callable[[], Any], times: int = 1) -> Callable[[], None]:
    """``call``, ``times`` times, and all that it left to the device."""

    def run() -> None:
        for _ in range(times):
            call()
        torch.cuda.synchronize()

    return run


def milliseconds(seconds: list[float], calls: int) -> str:
    """Of one call: the median, and the fastest and slowest round."""
    each = sorted(1e3 * value / calls for value in seconds)
    return f"{float(np.median(each)):.2f} ms ({each[0]:.2f} to {each[-1]:.2f})"


def pictures(size: int) -> Uint8:
    return many(images()[0], size)


def task_of(name: str) -> PretrainTask:
    """The preset's training on a pool of one epoch's draws; no fitting, which would shrink its queue."""
    config = replace(preset(name).pretrain, repeats=1)
    size = STEPS * config.batch_size
    return PretrainTask(config, size, 3, seed=0, window=size)


def peak() -> float:
    """FLOP/s of a large bfloat16 matrix product, here and now."""
    a, b = (torch.randn(8192, 8192, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    seconds = alternate({"product": waited(lambda: a @ b, 20)}, 3)["product"]
    return 20 * 2 * 8192**3 / min(seconds)


def flops(views: tuple[Tensor, Tensor], task: PretrainTask) -> float:
    """Of one bare step, as torch counts them."""
    bare = BareStep(views, 1, 1, task.config)
    with FlopCounterMode(display=False) as counter:
        bare()
    return float(counter.get_total_flops())


def graphed(bare: BareStep) -> BareStep:
    """With both encoders as CUDA graphs."""
    view = bare.parts[0][0]
    with torch.autocast("cuda", bare.dtype, cache_enabled=False):
        torch.cuda.make_graphed_callables(
            (bare.model.query_encoder, bare.model.key_encoder), ((view,), (view.clone(),))
        )
    return bare


def training(name: str) -> Lines:
    """Row 1, the share of the peak, and what the recipe costs."""
    task = task_of(name)
    batch = task.config.batch_size
    resident = ResidentTraining(pictures(task.size), task, DEVICE)
    views = two_views(pictures(batch), batch, DEVICE)
    candidates: dict[str, Callable[[], None]] = {
        "loop": resident,
        "bare": BareStep(views, STEPS, 1, task.config),
        "bare, as CUDA graphs": graphed(BareStep(views, STEPS, 1, task.config)),
    }
    waited(resident)()  # records its step
    seconds = alternate({key: waited(call) for key, call in candidates.items()}, ROUNDS)
    arithmetic, most = flops(views, task), peak()
    step = float(np.median(seconds["loop"])) / STEPS
    return [
        ("precision", resident.training.precision_reason),
        *((f"{key}, pairs", speed(times, STEPS * batch)) for key, times in seconds.items()),
        *((f"{key}, a step", milliseconds(times, STEPS)) for key, times in seconds.items()),
        *((f"loop over {key}", f"{ratio(seconds, key, 'loop'):.3f}") for key in candidates if key != "loop"),
        ("a bare step's arithmetic", f"{arithmetic / 1e12:.2f} TFLOP"),
        ("this GPU's bfloat16 peak, measured", f"{most / 1e12:.0f} TFLOP/s"),
        ("the loop's share of it", f"{arithmetic / step / most:.1%}"),
        ("most memory held", f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"),
    ]


def profile(name: str = "medmnist") -> Lines:
    """What runs in a step: waits of the host, kernels, where the device's time goes."""
    task = task_of(name)
    resident = ResidentTraining(pictures(task.size), task, DEVICE)
    loop = resident.training
    loop.model.train()
    steps = list(loop.sampler.epoch(0))[:12]
    for each in steps[:4]:
        loop.step(each, 0, resident.pixels)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as waits:
        warnings.simplefilter("always")
        loop.step(steps[4], 0, resident.pixels)
    torch.cuda.set_sync_debug_mode("default")
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        for each in steps[5:]:
            loop.step(each, 0, resident.pixels)
        torch.cuda.synchronize()
    count = len(steps[5:])
    kernels = [each for each in profiler.key_averages() if each.self_device_time_total and not each.self_cpu_time_total]
    busy = sum(each.self_device_time_total for each in kernels)
    largest = sorted(kernels, key=lambda each: -each.self_device_time_total)[:25]
    return [
        ("waits of the host for the device in a step", str(len(waits))),
        (
            "kernels a step, and their time",
            f"{sum(each.count for each in kernels) / count:.0f}, {busy / 1e3 / count:.2f} ms",
        ),
        *(
            (each.key[:100], f"{each.count / count:.0f}, {each.self_device_time_total / 1e3 / count:.2f} ms")
            for each in largest
        ),
    ]


def views() -> Lines:
    """Row 3."""
    batch = preset("medmnist").pretrain.batch_size
    tensors = torch.from_numpy(pictures(batch)).to(DEVICE).permute(0, 3, 1, 2).contiguous()
    ids = torch.arange(batch, device=DEVICE)
    found: dict[str, Callable[[], None]] = {
        "ours": waited(lambda: [make_views(tensors, sample_keys(0, 0, ids * 0, ids, view), RGB) for view in (0, 1)])
    }
    if not lacking("kornia"):
        found["kornia, crops resampled"] = waited(partial(both, kornia_transform(28, "resample"), tensors))
    seconds = alternate(found, ROUNDS)
    return [
        *((f"{name}, views", speed(times, 2 * batch)) for name, times in seconds.items()),
        *((f"ours over {name}", f"{ratio(seconds, name, 'ours'):.2f}x") for name in found if name != "ours"),
    ]


def embedding(batch: int = 4096, batches: int = 12) -> Lines:
    """Row 5, without Parquet: from uint8 in the host's memory to features there, over the bare forward pass."""
    encoder = build_encoder("resnet50", 128)
    embedder = Embedder(encoder.state_dict(), "resnet50", DEVICE)
    pool = pictures(batch * batches)
    encoder.fc = nn.Identity()
    encoder = encoder.eval().to(DEVICE)
    made = normalise(torch.from_numpy(pool[:batch]).to(DEVICE).permute(0, 3, 1, 2).float() / 255)

    @torch.inference_mode()
    def bare() -> None:
        for _ in range(batches):
            with devices.autocast(DEVICE, torch.bfloat16):
                encoder(made)

    def ours() -> None:
        for start in range(0, len(pool), batch):
            embedder(pool[start : start + batch])

    seconds = alternate({"ours": waited(ours), "bare": waited(bare)}, ROUNDS)
    return [
        (f"the embedder, images, batches of {batch}", speed(seconds["ours"], len(pool))),
        ("the bare forward pass, images", speed(seconds["bare"], len(pool))),
        ("embedder over bare", f"{ratio(seconds, 'bare', 'ours'):.3f}"),
    ]


def accumulator(calls: int = 20) -> Lines:
    """Row 8: each part by itself."""
    config = preset("medmnist").pretrain
    batch, temperatures = config.batch_size, config.confidence_temperatures
    first, second = (torch.nn.functional.normalize(torch.randn(batch, 128, device=DEVICE), dim=1) for _ in range(2))
    ids = torch.randint(SIZE, (batch,), device=DEVICE)
    sums = ConfidenceAccumulator(SIZE, temperatures).to(DEVICE)
    probability = torch.rand(batch, len(temperatures), device=DEVICE, dtype=torch.float64)
    parts: dict[str, Callable[[], Any]] = {
        "instance probability": lambda: instance_probability(first, second, ids, slice(0, batch), temperatures),
        "add": lambda: sums.add(ids, probability),
    }
    seconds = alternate({key: waited(call, calls) for key, call in parts.items()}, ROUNDS)
    return [(f"{key}, batch {batch}", milliseconds(times, calls)) for key, times in seconds.items()]


# ---- K-means ---------------------------------------------------------------------------------


def clusters(own: Path | None = None, size: int = 1_000_000, room: float = 0.8) -> Lines:
    """cuML through our door beside scikit-learn through it; then with less free memory than the features take.

    Args:
        own: features of a real run, as NumPy keeps them.
        room: GiB that are left free on the GPU for the last line.
    """
    if lacking("cuml"):
        return [("cuML", "not installed")]
    points = np.concatenate([features(start, start + CHUNK) for start in range(0, size, CHUNK)])
    lines: Lines = []
    for k, backend in ((30, "cuml"), (30, "sklearn"), (1000, "cuml")):
        kmeans(points[:20_000], k, 0, backend=backend)  # loads and compiles
        lines.append((f"{size:,} x {points.shape[1]}, K = {k}, {backend}", clustered(points, k, backend)))
    if own is not None:
        embedded = np.load(own).astype(np.float32)
        lines += [
            (f"{own.name} {embedded.shape}, K = {k}, {backend}", clustered(embedded, k, backend))
            for k in (11, 30)
            for backend in ("cuml", "sklearn")
        ]
    free, _ = torch.cuda.mem_get_info()
    taken = torch.empty(free - int(room * 2**30), dtype=torch.uint8, device=DEVICE)
    lines.append((f"K = 30, cuml, {room} GiB free", clustered(points, 30, "cuml")))
    del taken
    return lines


def clustered(points: Float32, k: int, backend: str) -> str:
    """Seconds and inertia."""
    began = time.perf_counter()
    found = kmeans(points, k, seed=0, backend=backend)
    return f"{time.perf_counter() - began:.2f} s, inertia {found.inertia:,.1f}, by {found.backend}"


ROWS: dict[str, Callable[[], Lines]] = {
    "training": partial(training, "medmnist"),
    "training-512": partial(training, "cifar10-lt"),
    "profile": profile,
    "views": views,
    "embedding": embedding,
    "accumulator": accumulator,
    "clusters": clusters,
}


if __name__ == "__main__":
    sys.exit(main())
