"""The plan's figures, against what the code itself allocates, and some worked out by hand; the document, against
the script.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.artifacts import Layout, PoolManifest, image_column, pool_schema
from pipeline.data.pool import PoolReader
from pipeline.data.sampler import BLOCK, Sampler
from pipeline.data.staging import Sizes, _write
from pipeline.data.worker_messages import Exchange, Share
from pipeline.moco.confidence import ConfidenceAccumulator
from pipeline.moco.task import PretrainTask
from pipeline.moco.train import Pretraining
from pipeline.presets import preset
from pipeline.storage import Location
from speed.growth import growth
from speed.held import _receipts
from speed.scale_plan import DOCUMENT, MARKER, PART_BYTES, RECEIPT_BYTES, Assumed, Plan, forward_flops, tables

TEMPERATURES = (0.2, 0.05, 0.01, 0.001)


@pytest.mark.parametrize("images", [1000, 1_000_000])
def test_sums_are_what_the_accumulator_allocates(images: int) -> None:
    plan = Plan(images, 28)
    with torch.device("meta"):
        sums = ConfidenceAccumulator(images, TEMPERATURES, plan.repeats)
    within = [sums._count, sums._sum, *([] if sums._squares is None else [sums._squares])]
    assert sum(tensor.nbytes for tensor in (*sums.state_dict().values(), *within)) == plan.sums_bytes
    assert sums._sum.nbytes * (1 if sums._squares is None else 2) + sums._count.nbytes == plan.summed_bytes_an_epoch
    one = ConfidenceAccumulator(8, TEMPERATURES, plan.repeats)
    assert next(one.tables()).nbytes * len(TEMPERATURES) == Plan(8, 28).confidence_bytes


@pytest.mark.slow
def test_a_checkpoint_is_as_large_as_a_real_one(tmp_path: Path) -> None:
    plan = Plan(100_000, 28)
    config = replace(preset("medmnist").pretrain, repeats=plan.repeats, bn_splits=8)
    assert (config.arch, config.queue_size, config.batch_size) == (plan.arch, plan.queue, plan.batch)
    training = Pretraining(PretrainTask(config, plan.images, 3, seed=0, window=plan.images), torch.device("cpu"))
    training.checkpoint().save(tmp_path / "checkpoint")
    assert (tmp_path / "checkpoint").stat().st_size == pytest.approx(plan.checkpoint_bytes, rel=0.005)
    gradients = sum(4 * weight.numel() for weight in training.model.query_encoder.parameters())
    assert gradients == pytest.approx(4 * plan.parameters, rel=0.005)


def test_a_receipt_is_as_large_as_a_real_one() -> None:
    assert next(_receipts(1000)).nbytes / 1000 == pytest.approx(RECEIPT_BYTES, abs=0.5)


@pytest.mark.parametrize("workers", [1, 4, 8])
def test_streaming_workers_read_a_pool_a_repeat_and_exchange_most_of_it(workers: int) -> None:
    sampler = Sampler(32 * BLOCK, 1, 1024, seed=1, window=8 * BLOCK)
    rows, plan = 1024 // workers, Plan(10**8, 28, workers=workers)
    parts = [slice(worker * rows, (worker + 1) * rows) for worker in range(workers)]
    shares = [Share.of(ids, workers, 0) for _, ids in sampler.drawn(0)]
    sent = 0
    for step in sampler.epoch(0):
        holder = np.select(
            [step.window == number for number in range(len(shares))], [share.holder(step.ids) for share in shares]
        )
        messages = Exchange.of(step, parts, holder, 0).send
        sent += sum(len(message) for message in messages[1:])
    assert workers * sum(len(share.ids) for share in shares) == sampler.size
    assert workers * sent / sampler.size == pytest.approx(plan.exchanged_share, rel=0.03)
    assert plan.read_bytes == 30 * plan.pool_bytes


def test_requests_of_a_pool_file_on_s3(make_bucket: Callable[[], str], caplog: pytest.LogCaptureFixture) -> None:
    """As they are counted in ``request_dollars``: to write a file, and to read a row group of it."""
    shape, store = (28, 28, 3), Location(f"s3://{make_bucket()}")
    group = Sizes.of(shape, 10**6).group
    size = 6 * group
    images = np.random.default_rng(0).integers(0, 256, (size, *shape), np.uint8)
    assert PART_BYTES < images.nbytes < 2 * PART_BYTES
    columns = [np.arange(size), ["key"] * size, [bytes(32)] * size, image_column(images)]
    manifest = PoolManifest("p", "t", "pool", size, *shape, {"train": size}, None, 0, 0, "", Layout(size, group))

    def requests() -> list[str]:
        of_file = [line for line in caplog.messages if "part-00000" in line]
        caplog.clear()
        return sorted(method for line in of_file for method in ("HEAD", "GET", "POST", "PUT") if f"{method} /" in line)

    with caplog.at_level("INFO", "werkzeug"):
        table = pa.table(columns, schema=pool_schema(*shape))
        _write(store, "pool/train/part-00000.parquet", table, group, "sample_id", "zstd")
        assert requests() == ["POST", "POST", "PUT", "PUT"]
        found = PoolReader(store, manifest).images(np.array([group + 1]))
        assert np.array_equal(found[0], images[group + 1])
        assert requests() == ["GET", "GET", "HEAD"]


def test_tasks_and_hours_by_hand() -> None:
    plan = Plan(10**9, 224)
    # 222 images in 32 MiB; 864 rows in a file of 128 MiB; 64 MiB a task.
    assert plan.ingest_tasks == 4_504_505 + 1_157_408
    assert plan.stream_tasks_an_epoch == -(-150_528 * 10**9 // 2**26)
    assert plan.listing_hours == pytest.approx(10**6 / 36_000)


def test_bytes_by_hand() -> None:
    plan = Plan(10**8, 64)
    assert plan.pool_bytes == 1_228_800_000_000  # 100 M x 64 x 64 x 3
    assert plan.checkpoint_bytes == 336_000_000 + 33_554_432 + 7_200_000_000
    assert plan.feature_bytes == 819_200_000_000
    # The features pass as a stream, but Ray holds them sorted: 2 x 64 MiB, of 8 cores 25 x 32 MiB, 9 x 20,000 rows
    # and 2 x 3,000, 40 bytes a sample.
    assert plan.cluster_bytes == 134_217_728 + 838_860_800 + 1_474_560_000 + 49_152_000 + 4_000_000_000
    assert plan.cluster_store_bytes == plan.feature_bytes
    assert plan.map_bytes == pytest.approx(5000 * 8 * 2**20, rel=0.03)  # a row group each, hardly any twice


def test_a_small_pool_is_drawn_several_times_an_epoch_and_held_whole() -> None:
    plan = Plan(10**6, 28, dimensions=512)
    assert plan.repeats == 1 and plan.draws == 200_000_000
    # A sample, and one for each of eight cores, which have a block each; 3,000 rows in float64.
    assert plan.cluster_bytes == 4 * 512 * (10**6 + 9 * 20_000 + 2 * 3_000 + 8 * 4096) + 40_000_000
    assert plan.cluster_store_bytes == 0
    assert plan.read_bytes == 8 * plan.pool_bytes  # kept: each worker reads it once
    assert Plan(10**5, 28).repeats == 12


def test_growth_is_that_of_what_comes_with_images() -> None:
    def linear(size: int) -> float:
        return 12.0 + 2e-6 * size

    fixed = [linear(6_000), linear(6_000)]
    sizes = (100_000, 1_000_000)
    assert growth(6_000, fixed, sizes, [linear(size) for size in sizes]) == pytest.approx(1)
    assert growth(6_000, [0.0], sizes, [size**1.5 for size in sizes]) == pytest.approx(1.5 * 1 / 1.024, rel=0.01)
    # Three seconds more or less of the start: what grows less than that cannot be told. One slow start hides nothing.
    assert growth(6_000, [10.0, 13.0, 14.0], sizes, [9.0, 12.0]) is None
    assert growth(6_000, [10.0, 10.1, 40.0], sizes, [11.0, 20.0]) == pytest.approx(0.98, abs=0.01)


def test_flops_are_those_known_of_resnets() -> None:
    # 4.09 and 1.81 G multiplications and additions at 224 px, as torchvision's own table says.
    assert forward_flops("resnet50", 224) == pytest.approx(2 * 4.09e9, rel=0.01)
    assert forward_flops("resnet18", 224) == pytest.approx(2 * 1.81e9, rel=0.01)


def test_hours_and_dollars_by_hand() -> None:
    plan = Plan(10**7, 224, Assumed(gpu_peak=1e15, utilisation=0.4, gpu_dollars=2, decoded=1000, core_dollars=0.05))
    # 1 G draws x 4 x 8.18 GFLOP at 400 TFLOP/s
    assert plan.train_hours == pytest.approx(1e9 * 4 * 8.18e9 / 4e14 / 3600, rel=0.01)
    assert plan.dollars["pretrain"] == pytest.approx(45.4, rel=0.01)
    assert plan.dollars["ingest"] == pytest.approx(10_000 / 3600 * 0.05)
    assert plan.sent_bytes_a_step == 7 / 8 * (8 * 28_000_000 + 8 * 4096 * 128)


def test_the_document_holds_what_the_script_prints() -> None:
    assert DOCUMENT.read_text().partition(MARKER)[2].strip() == tables().strip()
