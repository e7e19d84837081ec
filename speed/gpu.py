"""What issue 3 asks of one NVIDIA GPU: ResNet-50, bfloat16; each row prints as it goes and in a process of its own.

    python -m speed.gpu [--only NAME ...] [--budget-seconds 400] [--features FILE.npy]
    python -m speed.gpu --smoke     # all the code, tiny, on any machine
    python -m pytest --noconftest tests/gpu tests/unit/moco/test_objective.py     # before it: is it right there?

The pure parts alone: neither Ray nor boto3 is needed. A row that fails or runs out of time is said and the next one
begins; one that would not fit into the time left is skipped. Rows stand in the order of their weight.

Ratios are as on a CPU (see the rows' own modules); the device is waited for before a clock is read. The steps are those
of presets ``medmnist`` (batch 4,096, queue 65,536) and ``cifar10-lt`` (batch 512, queue 4,096), both with batch norm
over eight splits, on images of noise: what is in a picture does not change how long it takes. The bare step comes as
torch runs it, and with its encoders as CUDA graphs. Dollars are at ``DOLLARS_AN_HOUR``.

A lent machine has no registry: row ``views`` finds Kornia where its wheels (kornia, kornia_rs: requirements-bench.lock)
travelled along. Row ``clusters`` needs cuML, which is larger than what may travel at once (docs/dev/log.md); without it
the row says so.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline import device as devices
from pipeline.artifacts import Float32, Uint8
from pipeline.cluster import kmeans
from pipeline.config import override
from pipeline.context import LocalContext
from pipeline.data.random_streams import stream_keys
from pipeline.data.views import RGB, make_views
from pipeline.embed.moco import Embedder
from pipeline.moco.confidence import ConfidenceAccumulator
from pipeline.moco.fast import cuda_graph
from pipeline.moco.fast.cuda_graph import CudaGraph
from pipeline.moco.fit_settings import PAPER_REPEATS, fit_to_pool
from pipeline.moco.model import build_encoder
from pipeline.moco.objective import KEYS_AT_ONCE, instance_probability, moco_loss
from pipeline.moco.resident import ResidentPixels
from pipeline.moco.task import PretrainTask
from pipeline.moco.train import pretrain
from pipeline.presets import preset
from pipeline.progress import silent
from speed.clustering import CHUNK, features
from speed.embedding import bare_passes, embed_all
from speed.measure import alternate, lacking, ratio, speed
from speed.pool import many
from speed.training_step import BareStep, ResidentTraining, two_views
from speed.views import both, kornia_transform

SIZE = 11_959
"""BloodMNIST's training split."""
STEPS_OF_BLOOD = SIZE * PAPER_REPEATS[SIZE] // 4096
"""In an epoch of preset ``medmnist``."""
DOLLARS_AN_HOUR = 3.0
SYNCHRONISATIONS = ("cudaStreamSynchronize", "cudaEventSynchronize", "cudaDeviceSynchronize")
"""What the host waits in, by its name in a trace."""
STEP = "one step"

Line = tuple[str, str]


@dataclass(frozen=True)
class Here:
    """Where to measure, and whether only to see that all the code runs."""

    device: torch.device
    smoke: bool = False
    features: Path | None = None

    def size(self, real: int, tiny: int) -> int:
        return tiny if self.smoke else real

    @property
    def rounds(self) -> int:
        return self.size(5, 1)

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def waited(self, call: Callable[[], Any], times: int = 1) -> Callable[[], None]:
        """``call``, ``times`` times, and all that it left to the device."""

        def run() -> None:
            for _ in range(times):
                call()
            if self.on_gpu:
                torch.cuda.synchronize()

        return run

    def task(self, name: str, steps: int, **changes: Any) -> PretrainTask:
        """The preset's training on a pool of one epoch's draws; no fitting, which would shrink its queue."""
        config = replace(preset(name).pretrain, repeats=1, **changes)
        if self.smoke:
            config = replace(config, arch="resnet18", batch_size=8, queue_size=32, bn_splits=2)
        size = steps * config.batch_size
        return PretrainTask(config, size, 3, seed=0, window=size)


# ---- running the rows --------------------------------------------------------------------------


@dataclass(frozen=True)
class Measurement:
    lines: Callable[[Here], Iterator[Line]]
    seconds: float
    """It is thought to take on an H100, its process's start included."""


def main() -> int:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--only", nargs="+", choices=ROWS, metavar="NAME", help=f"of {', '.join(ROWS)}")
    parse.add_argument("--budget-seconds", type=float, help="for all rows together (400; --smoke: an hour)")
    parse.add_argument("--features", type=Path, metavar="FILE.npy", help="(N, D) of a run, for row clusters")
    parse.add_argument("--smoke", action="store_true", help="tiny, on a CPU: that everything runs, not how fast")
    parse.add_argument("--row", choices=ROWS, help=argparse.SUPPRESS)
    given = parse.parse_args()
    if not given.smoke and not torch.cuda.is_available():
        print("There is no GPU here; python -m speed measures the CPU.", file=sys.stderr)
        return 2
    if given.row:
        print_row(given.row, Here(torch.device("cpu" if given.smoke else "cuda"), given.smoke, given.features))
        return 0
    print(f"{'smoke' if given.smoke else torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    ends, failed = time.monotonic() + (given.budget_seconds or (3600 if given.smoke else 400)), []
    for name in given.only or ROWS:
        left, began = ends - time.monotonic(), time.monotonic()
        print(f"\n### {name}\n", flush=True)
        if left < ROWS[name].seconds and not given.smoke:
            print(f"* skipped: {left:.0f} s are left, and it takes some {ROWS[name].seconds:.0f}", flush=True)
            continue
        what = run_row(name, left, *(["--smoke"] if given.smoke else []), *features_of(given.features))
        if what is not None:
            failed.append(name)
            print(f"* **{what}**", flush=True)
        print(f"* (row {name}: {time.monotonic() - began:.0f} s)", flush=True)
    print(f"\nfailed: {', '.join(failed) or 'none'}", flush=True)
    return int(bool(failed))


def features_of(file: Path | None) -> list[str]:
    return [] if file is None else ["--features", str(file)]


def run_row(name: str, seconds: float, *arguments: str) -> str | None:
    """In a process of its own, since an error on a GPU can end all that its process does there; what went wrong."""
    command = [sys.executable, "-m", "speed.gpu", "--row", name, *arguments]
    # A group, since torch.compile starts processes of its own; no session, since a lent machine would not end that.
    process = subprocess.Popen(command, process_group=0)
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"ended after {seconds:.0f} s: out of time"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return None if code == 0 else f"failed with exit code {code}; what it said is above, or in stderr"


def print_row(name: str, here: Here) -> None:
    for what, figure in ROWS[name].lines(here):
        print(f"* {what}: {figure}", flush=True)


def milliseconds(seconds: list[float], calls: int) -> str:
    """Of one call: the median, and the fastest and slowest round."""
    each = sorted(1e3 * value / calls for value in seconds)
    return f"{float(np.median(each)):.2f} ms ({each[0]:.2f} to {each[-1]:.2f})"


def pictures(number: int, side: int = 28) -> Uint8:
    """(number, side, side, 3) of noise, no two alike."""
    some = np.random.default_rng(0).integers(0, 256, (min(number, 1024), side, side, 3), dtype=np.uint8)
    return many(some, number)


# ---- the training step -------------------------------------------------------------------------


def training(name: str, side: int, steps: int, here: Here) -> Iterator[Line]:
    """Row 1, the share of the peak, what the recipe costs by it, and row 8: the confidence's share of a step."""
    task = here.task(name, here.size(steps, 2))
    batch, steps, width = task.config.batch_size, task.sampler.steps, here.size(side, side // 2)
    yield "step", f"{task.config.arch}, {width} x {width} x 3, batch {batch:,}, queue {task.config.queue_size:,}"
    loop = ResidentTraining(pictures(task.size, width), task, here.device)
    views = two_views(pictures(batch, width), batch, here.device)
    bare = BareStep(views, steps, 1, task.config)
    yield "precision", loop.training.precision_reason
    here.waited(loop)()  # records its step
    yield "most memory held by the loop", f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
    seconds = alternate({"loop": here.waited(loop), "bare": here.waited(bare)}, here.rounds)
    for key, times in seconds.items():
        yield f"{key}, pairs", speed(times, steps * batch)
        yield f"{key}, a step", milliseconds(times, steps)
    yield "loop over bare", f"{ratio(seconds, 'bare', 'loop'):.3f}"
    step = float(np.median(seconds["loop"])) / steps
    if (name, side) == ("medmnist", 28):
        yield "by this step", dollars(preset(name).pretrain.epochs * STEPS_OF_BLOOD * step)
    with FlopCounterMode(display=False) as counter:
        bare()
    arithmetic, most = counter.get_total_flops() / steps, peak(here)
    yield "a bare step's arithmetic", f"{arithmetic / 1e12:.2f} TFLOP"
    yield "this GPU's bfloat16 peak, measured", f"{most / 1e12:.0f} TFLOP/s"
    yield "the loop's share of it", f"{arithmetic / step / most:.1%}"
    yield from accumulator(task, step, here)
    recorded = graphed(BareStep(views, steps, 1, task.config))
    again = alternate({"loop": here.waited(loop), "graphs": here.waited(recorded)}, here.rounds)
    yield "bare, as CUDA graphs, a step", milliseconds(again["graphs"], steps)
    yield "loop over bare, as CUDA graphs", f"{ratio(again, 'graphs', 'loop'):.3f}"


def dollars(seconds: float) -> str:
    cost = seconds / 3600 * DOLLARS_AN_HOUR
    return f"the recipe for BloodMNIST takes {seconds / 60:.1f} GPU minutes, {cost:.2f} dollars at {DOLLARS_AN_HOUR:g}"


def peak(here: Here) -> float:
    """FLOP/s of a large bfloat16 matrix product, here and now."""
    side = here.size(8192, 64)
    a, b = (torch.randn(side, side, device=here.device, dtype=torch.bfloat16) for _ in range(2))
    seconds = alternate({"product": here.waited(lambda: a @ b, 20)}, 3)["product"]
    return 20 * 2 * side**3 / min(seconds)


def graphed(bare: BareStep) -> BareStep:
    """With both encoders as CUDA graphs."""
    view = bare.parts[0][0]
    if view.is_cuda:
        with torch.autocast("cuda", bare.dtype, cache_enabled=False):
            torch.cuda.make_graphed_callables(
                (bare.model.query_encoder, bare.model.key_encoder), ((view,), (view.clone(),))
            )
    return bare


def accumulator(task: PretrainTask, step: float, here: Here, calls: int = 20) -> Iterator[Line]:
    """Row 8: each part by itself, recorded as in a step of ``step`` seconds."""
    batch, temperatures = task.config.batch_size, task.config.confidence_temperatures
    first, second = unit(2, batch, device=here.device)
    ids = torch.randint(SIZE, (batch,), device=here.device)
    sums = ConfidenceAccumulator(SIZE, temperatures).to(here.device)
    probability = torch.rand(batch, len(temperatures), device=here.device, dtype=torch.float64)
    find = CudaGraph(partial(instance_probability, rows=slice(0, batch), temperatures=temperatures))
    add = CudaGraph(sums.add)
    parts: dict[str, Callable[[], Any]] = {
        "instance probability": lambda: find(first, second, ids),
        "the accumulator's add": lambda: add(ids, probability),
    }
    for call in parts.values():
        here.waited(call, 1 + cuda_graph.PLAIN_CALLS)()
    seconds = alternate({key: here.waited(call, calls) for key, call in parts.items()}, here.rounds)
    for key, times in seconds.items():
        share = float(np.median(times)) / calls / step
        yield f"{key}, batch {batch:,}", f"{milliseconds(times, calls)}, {share:.2%} of a step"


def unit(*shape: int, device: torch.device) -> Tensor:
    """(.., n, 128) of norm 1."""
    return F.normalize(torch.randn(*shape, 128, device=device), dim=-1)


def recipe(here: Here) -> Iterator[Line]:
    """Two epochs as the job trains them (1.256 M draws each on BloodMNIST): what begins and ends, and an epoch."""
    changes: dict[str, Any] = {"pretrain.epochs": 2}
    if here.smoke:
        tiny = {"arch": "resnet18", "batch_size": 8, "queue_size": 16, "bn_splits": 2, "repeats": 1}
        changes |= {f"pretrain.{key}": value for key, value in tiny.items()}
    began = time.perf_counter()
    images = pictures(here.size(SIZE, 32))
    fitted, _ = fit_to_pool(override(preset("medmnist"), changes).pretrain, len(images), workers=1)
    task = PretrainTask(fitted, len(images), images.shape[-1], seed=0, window=len(images))
    context = LocalContext(here.device, voice=silent)
    pretrain(task, ResidentPixels.of_array(images, here.device), context)
    history = context.history
    start = time.perf_counter() - began - history[-1]["seconds"]
    yield "pairs a second, second epoch", f"{history[-1]['pairs_per_second']:,.0f}"
    yield "the second epoch; the first, with all that begins and ends", f"{history[-1]['seconds']:.1f} s; {start:.1f} s"
    yield "by these", dollars(start + (preset("medmnist").pretrain.epochs - 1) * history[-1]["seconds"])


# ---- inside the step -------------------------------------------------------------------------------


def loss(here: Here) -> Iterator[Line]:
    """Loss and gradient of a batch, recorded as in a step, by keys at once; beside torch's cross-entropy."""
    batch, queued = here.size(4096, 8), here.size(65_536, 64)
    query, key, queue = (unit(rows, device=here.device) for rows in (batch, batch, queued))
    exact = gradient_of(whole_logits, *(each.double() for each in (query, key, queue)))
    yield "keys at once as shipped", f"{KEYS_AT_ONCE[here.device.type]:,}"
    for precision, words in (("highest", "float32"), ("high", "TF32 products")):
        torch.set_float32_matmul_precision(precision)
        ways: dict[str, Callable[[], Tensor]] = {"F.cross_entropy": recorded(whole_logits, query, key, queue)}
        for block in (here.size(each, each // 1024) for each in (1024, 4096, 16_384, 65_536)):
            with patch.dict(KEYS_AT_ONCE, {here.device.type: block}):
                ways[f"{block:,} keys at once"] = recorded(ours, query, key, queue)
        wrong = {way: float((call().double() - exact).norm() / exact.norm()) for way, call in ways.items()}
        calls = here.size(20, 1)
        seconds = alternate({way: here.waited(call, calls) for way, call in ways.items()}, here.rounds)
        for way, times in seconds.items():
            yield f"{words}, {way}", f"{milliseconds(times, calls)}; gradient {wrong[way]:.1e} from float64's"
    torch.set_float32_matmul_precision("highest")


def ours(query: Tensor, key: Tensor, queue: Tensor) -> Tensor:
    return moco_loss(query, key, queue, 0.2)[0]


def whole_logits(query: Tensor, key: Tensor, queue: Tensor) -> Tensor:
    logits = torch.cat([(query * key).sum(1, keepdim=True), query @ queue.T], 1) / 0.2
    return F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.int64, device=query.device), reduction="sum")


def gradient_of(way: Callable[..., Tensor], query: Tensor, key: Tensor, queue: Tensor) -> Tensor:
    """Of the loss by the query, (n, D)."""
    leaf = query.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(way(leaf, key, queue), leaf)
    return gradient


def recorded(way: Callable[..., Tensor], *given: Tensor) -> Callable[[], Tensor]:
    """``gradient_of`` as a replayed step has it: recorded now, with what is set now."""
    call = CudaGraph(partial(gradient_of, way))
    for _ in range(1 + cuda_graph.PLAIN_CALLS):
        call(*given)
    return lambda: call(*given)


def profile(here: Here, name: str = "medmnist") -> Iterator[Line]:
    """What runs in a step: waits of the host, kernels, where the device's time goes."""
    task = here.task(name, 12)
    resident = ResidentTraining(pictures(task.size), task, here.device)
    loop = resident.training
    steps = list(loop.sampler.epoch(0))
    for each in steps[:4]:
        loop.step(each, 0, resident.pixels)
    yield "waits of the host in a step, by torch's sync debug mode", str(len(warned_waits(loop, steps[4], resident)))
    with torch.profiler.profile(activities=torch.profiler.supported_activities()) as profiler:
        for each in steps[5:]:
            with torch.profiler.record_function(STEP):
                loop.step(each, 0, resident.pixels)
        here.waited(lambda: None)()
    count = len(steps[5:])
    # The profiler's own waits, and ours for the end, are outside the steps.
    events = profiler.events()
    inside = [each.time_range for each in events if each.name == STEP and each.device_type.name == "CPU"]
    assert len(inside) == count, f"{len(inside)} steps in the trace of {count}"
    for kind in SYNCHRONISATIONS:
        starts = [each.time_range.start for each in events if each.name == kind]
        found = sum(any(step.start <= start <= step.end for step in inside) for start in starts)
        yield f"{kind} in {count} steps", f"{found} ({len(starts)} in the whole trace)"
    kernels = [
        each
        for each in profiler.key_averages()
        if each.self_device_time_total and not each.self_cpu_time_total and each.key != STEP
    ]
    busy = sum(each.self_device_time_total for each in kernels) / 1e3 / count
    yield "kernels a step, and their time", f"{sum(each.count for each in kernels) / count:.0f}, {busy:.2f} ms"
    for each in sorted(kernels, key=lambda each: -each.self_device_time_total)[:25]:
        yield each.key[:100], f"{each.count / count:.0f}, {each.self_device_time_total / 1e3 / count:.2f} ms"


def warned_waits(loop: Any, step: Any, resident: ResidentTraining) -> list[Any]:
    """What torch's debug mode says of one step; nothing on a CPU."""
    if resident.training.device.type != "cuda":
        return []
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as waits:
        warnings.simplefilter("always")
        loop.step(step, 0, resident.pixels)
    torch.cuda.set_sync_debug_mode("default")
    return waits


class Fixed(float):
    """A learning rate that stays: what is not fused asks the device for a tensor's value, which cannot be recorded."""

    def copy_(self, rate: Tensor) -> None:
        pass


def optimizers(here: Here) -> Iterator[Line]:
    """What recording a step and the fused optimizer give: the loop as shipped, and without either."""
    task = here.task("medmnist", here.size(8, 2))
    pool = pictures(task.size)
    ways = {name: ResidentTraining(pool, task, here.device) for name in ("as shipped", "SGD foreach", "SGD one by one")}
    for name, chosen in (("SGD foreach", {"foreach": True}), ("SGD one by one", {"foreach": False})):
        optimizer = ways[name].training.optimizer
        for group in optimizer.param_groups:
            group.update(lr=Fixed(0.03), fused=False, **chosen)
    calls: dict[str, Callable[[], None]] = {name: here.waited(way) for name, way in ways.items()}
    yield from steps_of(calls, task, here)
    plain = ResidentTraining(pool, task, here.device)

    def launched() -> None:
        with patch.object(cuda_graph, "PLAIN_CALLS", 10**9):
            here.waited(plain)()

    yield from steps_of({"as shipped": calls["as shipped"], "launched kernel by kernel": launched}, task, here)


def compiled(here: Here) -> Iterator[Line]:
    """The loop with both encoders by torch.compile, recorded and replayed, beside the loop as shipped."""
    if here.on_gpu and (reason := devices.why_not_compiled()):
        yield "torch.compile", reason
        return
    task = here.task("medmnist", here.size(8, 2))
    pool = pictures(task.size)
    if here.smoke:
        torch.set_num_threads(1)  # one worker thread, as on a GPU
    ways = {name: ResidentTraining(pool, task, here.device) for name in ("as shipped", "torch.compile")}
    model = ways["torch.compile"].training.model
    for encoder in (model.query_encoder, model.key_encoder):
        encoder.compile(backend="aot_eager" if here.smoke else "inductor")
    # It looks for files, which torch.compile cannot follow; the answer is known.
    with patch.object(devices, "why_not_compiled", lambda: None):
        began = time.perf_counter()
        here.waited(ways["torch.compile"])()
        yield "its first epoch, with compiling", f"{time.perf_counter() - began:.0f} s"
        yield from steps_of({name: here.waited(way) for name, way in ways.items()}, task, here)


def steps_of(ways: dict[str, Callable[[], None]], task: PretrainTask, here: Here) -> Iterator[Line]:
    """An epoch of each, side by side; over the first of them."""
    first, *others = ways
    seconds = alternate(ways, here.size(3, 1))
    for name, times in seconds.items():
        yield f"{name}, a step", milliseconds(times, task.sampler.steps)
    for name in others:
        yield f"{name} over {first}", f"{ratio(seconds, first, name):.3f}"


# ---- beside the step ---------------------------------------------------------------------------------


def views(here: Here) -> Iterator[Line]:
    """Row 3."""
    batch = here.size(preset("medmnist").pretrain.batch_size, 8)
    tensors = torch.from_numpy(pictures(batch)).to(here.device).permute(0, 3, 1, 2).contiguous()
    ids = torch.arange(batch, device=here.device)
    found: dict[str, Callable[[], Any]] = {
        "ours": lambda: [make_views(tensors, stream_keys(0, 0, ids * 0, ids, view), RGB) for view in (0, 1)]
    }
    missing = lacking("kornia")
    if missing:
        yield "kornia", missing
    else:
        found["kornia, crops resampled"] = partial(both, kornia_transform(28, "resample"), tensors)
    seconds = alternate({name: here.waited(call) for name, call in found.items()}, here.rounds)
    for name, times in seconds.items():
        yield f"{name}, views", speed(times, 2 * batch)
    for name in found:
        if name != "ours":
            yield f"ours over {name}", f"{ratio(seconds, name, 'ours'):.2f}x"


def embedding(here: Here) -> Iterator[Line]:
    """Row 5, without Parquet: from uint8 in the host's memory to features there, over the bare forward pass."""
    batch, batches, arch = here.size(4096, 8), here.size(12, 2), "resnet18" if here.smoke else "resnet50"
    encoder = build_encoder(arch, 128)
    embedder = Embedder(encoder.state_dict(), arch, here.device)
    pool = pictures(batch * batches)
    encoder.fc = nn.Identity()
    bare = bare_passes(encoder, pool[:batch], batch, batches, here.device)
    calls: dict[str, Callable[[], None]] = {"embedder": lambda: embed_all(embedder, pool, batch), **bare}
    seconds = alternate({name: here.waited(call) for name, call in calls.items()}, here.rounds)
    for name, times in seconds.items():
        yield f"the {name}, images, batches of {batch:,}", speed(times, len(pool))
    for name in bare:
        yield f"the embedder over the {name}", f"{ratio(seconds, name, 'embedder'):.3f}"


def clusters(here: Here, room: float = 0.8) -> Iterator[Line]:
    """cuML through our door beside scikit-learn through it; then with less free memory than the features take.

    Args:
        room: GiB that are left free on the GPU for the last line.
    """
    if lacking("cuml") and not here.smoke:
        yield "cuML", "not installed"
        return
    backend, size = "sklearn" if here.smoke else "cuml", here.size(1_000_000, 2_000)
    points = np.concatenate([features(start, start + CHUNK) for start in range(0, size, CHUNK)])[:size]
    kmeans(points[:20_000], 30, 0, backend=backend)  # loads and compiles
    for k, of in ((30, backend), (here.size(1000, 40), backend), (30, "sklearn")):
        yield f"{size:,} x {points.shape[1]}, K = {k}, {of}", clustered(points, k, of)
    if here.features is not None:
        embedded = np.load(here.features).astype(np.float32)
        for k in (11, 30):
            for of in (backend, "sklearn"):
                yield f"{here.features.name} {embedded.shape}, K = {k}, {of}", clustered(embedded, k, of)
    if here.on_gpu:
        free, _ = torch.cuda.mem_get_info()
        taken = torch.empty(free - int(room * 2**30), dtype=torch.uint8, device=here.device)
        yield f"K = 30, cuml, {room} GiB free", clustered(points, 30, "cuml")
        del taken


def clustered(points: Float32, k: int, backend: str) -> str:
    """Seconds and inertia."""
    began = time.perf_counter()
    found = kmeans(points, k, seed=0, backend=backend)
    return f"{time.perf_counter() - began:.2f} s, inertia {found.inertia:,.1f}, by {found.backend}"


ROWS: dict[str, Measurement] = {
    "training": Measurement(partial(training, "medmnist", 28, 20), 50),
    "loss": Measurement(loss, 30),
    "profile": Measurement(profile, 35),
    "optimizers": Measurement(optimizers, 45),
    "embedding": Measurement(embedding, 20),
    "64px": Measurement(partial(training, "medmnist", 64, 5), 40),
    "224px": Measurement(partial(training, "cifar10-lt", 224, 5), 40),
    "compile": Measurement(compiled, 110),
    "training-512": Measurement(partial(training, "cifar10-lt", 28, 20), 30),
    "views": Measurement(views, 15),
    "recipe": Measurement(recipe, 50),
    "clusters": Measurement(clusters, 90),
}
"""In the order of what the issue lacks most. Seconds are from RESULTS.md's steps and a process's start, rounded up;
those of torch.compile were 67 for two encoders."""


if __name__ == "__main__":
    sys.exit(main())
