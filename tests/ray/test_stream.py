"""Streamed images are the resident ones, in the order in which the sampler asks for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline import dist
from pipeline.artifacts import PoolManifest, image_column, pool_schema
from pipeline.config import PretrainConfig
from pipeline.data.sampler import BLOCK, Sampler
from pipeline.moco.resident import ResidentPixels
from pipeline.moco.task import PretrainTask, WorkerPlan
from pipeline.moco.train import Pixels, parts_of_batch
from pipeline.progress import silent
from pipeline.storage import Location

SHAPE = (4, 5, 3)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (3 * BLOCK + 77, *SHAPE), dtype=np.uint8)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory, images: np.ndarray) -> tuple[Location, PoolManifest]:
    return _written(images, tmp_path_factory.mktemp("stream"), files=3)


def _written(images: np.ndarray, folder: Path, files: int) -> tuple[Location, PoolManifest]:
    """Each file one row group."""
    import pyarrow as pa

    store, n = Location(str(folder)), len(images)
    for part in np.array_split(np.arange(n), files):
        columns = [part, [str(i) for i in part], [bytes(32)] * len(part), image_column(images[part])]
        store.write_table(f"pool/train/{part[0]:06}.parquet", pa.table(columns, schema=pool_schema(*SHAPE)))
    return store, PoolManifest("p", "test", "pool", n, *SHAPE, {"train": n}, None, 0, 0, "")


def check(stream: Pixels, sampler: Sampler, epochs: Iterable[int], images: np.ndarray, splits: int = 4) -> None:
    """That every batch of this process arrives as it lies in the pool."""
    parts = parts_of_batch(sampler.batch_size, splits)
    mine = parts[dist.rank()]
    for step in (step for epoch in epochs for step in sampler.epoch(epoch)):
        for found, ids in zip(stream.fetch(step, parts), (step.ids[mine], step.ids[step.shuffle[mine]]), strict=True):
            assert torch.equal(found, torch.from_numpy(images[ids]).permute(0, 3, 1, 2))


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("window", [BLOCK, 10**6])
def test_every_batch_arrives_as_it_lies_in_the_pool(
    pool: tuple[Location, PoolManifest], images: np.ndarray, window: int
) -> None:
    from pipeline.on_ray.stream import StreamedPixels

    sampler = Sampler(len(images), 2, 96, seed=1, window=window)
    stream = StreamedPixels(*pool, sampler, first_epoch=1, epochs=3, device=torch.device("cpu"))
    check(stream, sampler, (1, 2), images)


@pytest.mark.usefixtures("local_ray")
def test_workers_read_a_part_each_and_pass_it_on(
    pool: tuple[Location, PoolManifest], images: np.ndarray, tmp_path: Path
) -> None:
    """Of different sizes; batches of which a worker has read nothing, or that lie in four windows.

    The two leave half a CPU: who reads for them must not want a whole one.
    """
    import ray.train.torch

    from pipeline.on_ray.stream import StreamedPixels

    small = Sampler(len(images), repeats=1, batch_size=6, seed=4, window=BLOCK)
    large = Sampler(len(images), repeats=6, batch_size=BLOCK, seed=4, window=BLOCK)

    def work() -> None:
        for sampler, splits in ((small, 3), (large, 4)):
            stream = StreamedPixels(*pool, sampler, first_epoch=0, epochs=2, device=torch.device("cpu"))
            check(stream, sampler, range(2), images, splits)
        assert dist.world_size() == 2
        (tmp_path / f"passed-{dist.rank()}").touch()

    ray.train.torch.TorchTrainer(
        work,
        scaling_config=ray.train.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.75}),
        run_config=ray.train.RunConfig(storage_path=str(tmp_path)),
    ).fit()
    assert len(list(tmp_path.glob("passed-*"))) == 2


@pytest.mark.usefixtures("local_ray")
def test_what_a_task_returns_may_come_in_several_blocks(
    pool: tuple[Location, PoolManifest], images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray.data

    from pipeline.on_ray.stream import StreamedPixels

    # As large images do, of which one request is more than Ray Data leaves in one block.
    monkeypatch.setattr(ray.data.DataContext.get_current(), "target_max_block_size", 200 * images[0].nbytes)
    sampler = Sampler(len(images), 1, 96, seed=1, window=BLOCK)
    stream = StreamedPixels(*pool, sampler, first_epoch=0, epochs=1, device=torch.device("cpu"))
    check(stream, sampler, [0], images)


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(("seed", "most"), [(1, 3), (4, 4)])
def test_a_batch_as_large_as_a_window_lies_in_several(
    pool: tuple[Location, PoolManifest], images: np.ndarray, seed: int, most: int
) -> None:
    from pipeline.on_ray.stream import StreamedPixels

    sampler = Sampler(len(images), 6, BLOCK, seed, window=BLOCK)
    assert max(len(np.unique(step.window)) for epoch in range(2) for step in sampler.epoch(epoch)) == most
    stream = StreamedPixels(*pool, sampler, first_epoch=0, epochs=2, device=torch.device("cpu"))
    check(stream, sampler, range(2), images)


@pytest.mark.usefixtures("local_ray")
def test_a_stream_can_be_left_before_its_end(
    pool: tuple[Location, PoolManifest], images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.on_ray import stream

    monkeypatch.setattr(stream, "BYTES_PER_READ", 10 * images[0].nbytes)
    sampler = Sampler(len(images), 1, 96, seed=1, window=10**6)
    left = stream.StreamedPixels(*pool, sampler, first_epoch=0, epochs=1000, device=torch.device("cpu"))
    left.close()
    assert left._arriving.result(timeout=0) is None
    assert _threads() == []


@pytest.mark.usefixtures("local_ray")
def test_a_stream_that_waits_for_training_can_be_left_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a step fails: nothing of Ray Data may outlive Ray."""
    import pyarrow as pa

    from pipeline.data.pool import PoolReader
    from pipeline.on_ray import stream

    windows = 12
    sampler = Sampler(windows * BLOCK, 1, 96, seed=1, window=BLOCK)
    last_window, real = [ids for _, ids in sampler.drawn(0)][-1], stream.read_images
    written = _written(np.zeros((windows * BLOCK, *SHAPE), np.uint8), tmp_path, files=windows)

    def slowly(request: pa.Table, reader: PoolReader) -> pa.Table:
        """Else all of a pool as small as this has been read before it is used."""
        if request["sample_id"][0][0].as_py() in last_window:
            time.sleep(5)
        return real(request, reader)

    monkeypatch.setattr(stream, "read_images", slowly)
    left = stream.StreamedPixels(*written, sampler, first_epoch=0, epochs=1000, device=torch.device("cpu"))
    left.fetch(next(sampler.epoch(0)), parts_of_batch(sampler.batch_size, 4))
    left._arriving.result(timeout=60)
    assert any(name.startswith("StreamingExecutor") for name in _threads())
    left.close()
    assert _threads() == []


@pytest.mark.usefixtures("local_ray")
def test_a_stream_leaves_others_their_share_and_may_wait_for_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray
    import ray.data

    from pipeline.on_ray.stream import read_for_training

    monkeypatch.setattr(dist, "world_size", lambda: 8)
    stream = ray.data.range(1)
    read_for_training(stream)
    share = stream.context.execution_options.resource_limits.object_store_memory
    assert share == pytest.approx(ray.cluster_resources()["object_store_memory"] / 16, rel=1e-6)
    assert stream.context.execution_no_progress_timeout_s == -1
    assert ray.data.DataContext.get_current().execution_no_progress_timeout_s > 0  # of this stream alone


@pytest.mark.usefixtures("local_ray")
def test_a_pool_is_streamed_where_that_saves_memory(
    pool: tuple[Location, PoolManifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three windows of 1,024 images are less than 3,149; three of 1,050 are not, nor is one of them all."""
    import ray.train.torch

    from pipeline.on_ray import training_worker
    from pipeline.on_ray.stream import StreamedPixels

    store, manifest = pool
    monkeypatch.setattr(training_worker.devices, "free_bytes", lambda _: 1000)
    monkeypatch.setattr(ray.train, "get_context", lambda: SimpleNamespace(get_local_world_size=lambda: 1))
    monkeypatch.setattr(ray.train.torch, "get_device", lambda: torch.device("cpu"))
    config = PretrainConfig(batch_size=96, bn_splits=4)
    for window, limit, streamed in ((1024, None, True), (1050, None, False), (10**6, None, False), (1050, 0.0, True)):
        task = PretrainTask(replace(config, pool_memory_gib=limit), manifest.size, 3, 0, window)
        plan = WorkerPlan(task, store, manifest, "run", "files")
        with training_worker._pixels(plan, training_worker._StoreContext(plan, silent)) as pixels:
            assert isinstance(pixels, StreamedPixels if streamed else ResidentPixels), (window, limit)


def _threads() -> list[str]:
    """Ours that read, and Ray Data's."""
    names = (thread.name for thread in threading.enumerate())
    return [name for name in names if name.startswith(("stream", "StreamingExecutor"))]
