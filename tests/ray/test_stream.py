"""Streamed images are the resident ones, in the order in which the sampler asks for them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.artifacts import PoolManifest, image_column, pool_schema
from pipeline.data.sampler import BLOCK, Sampler
from pipeline.storage import Location

SHAPE = (4, 5, 3)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (3 * BLOCK + 77, *SHAPE), dtype=np.uint8)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory, images: np.ndarray) -> tuple[Location, PoolManifest]:
    import pyarrow as pa

    store, n = Location(str(tmp_path_factory.mktemp("stream"))), len(images)
    for part in np.array_split(np.arange(n), 3):
        columns = [part, [str(i) for i in part], [bytes(32)] * len(part), image_column(images[part])]
        store.write_table(f"pool/train/{part[0]:06}.parquet", pa.table(columns, schema=pool_schema(*SHAPE)))
    return store, PoolManifest("p", "test", "pool", n, *SHAPE, {"train": n}, None, 0, 0, "")


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("mine", [slice(0, 96), slice(32, 64)])
@pytest.mark.parametrize("window", [BLOCK, 10**6])
def test_every_batch_arrives_as_it_lies_in_the_pool(
    pool: tuple[Location, PoolManifest], images: np.ndarray, mine: slice, window: int
) -> None:
    from pipeline.on_ray.stream import StreamedPixels

    sampler = Sampler(len(images), 2, 96, seed=1, window=window)
    stream = StreamedPixels(*pool, sampler, mine, first_epoch=1, epochs=3, device=torch.device("cpu"))
    for epoch in (1, 2):
        for step in sampler.epoch(epoch):
            for ids in (step.ids[mine], step.ids[step.shuffle[mine]]):
                expected = torch.from_numpy(images[ids]).permute(0, 3, 1, 2)
                assert torch.equal(stream.fetch(ids), expected)


@pytest.mark.usefixtures("local_ray")
def test_what_a_task_returns_may_come_in_several_blocks(
    pool: tuple[Location, PoolManifest], images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray.data

    from pipeline.on_ray.stream import StreamedPixels

    # As large images do, of which one request is more than Ray Data leaves in one block.
    monkeypatch.setattr(ray.data.DataContext.get_current(), "target_max_block_size", 200 * images[0].nbytes)
    sampler = Sampler(len(images), 1, 96, seed=1, window=BLOCK)
    stream = StreamedPixels(*pool, sampler, slice(0, 96), first_epoch=0, epochs=1, device=torch.device("cpu"))
    for step in sampler.epoch(0):
        for ids in (step.ids, step.ids[step.shuffle]):
            assert torch.equal(stream.fetch(ids), torch.from_numpy(images[ids]).permute(0, 3, 1, 2))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_together_read_no_more_than_twice_the_pool_a_repeat(images: np.ndarray, workers: int) -> None:
    from pipeline.on_ray.stream import needed_by_window

    sampler = Sampler(len(images), 1, 96, seed=1, window=BLOCK)
    share = 96 // workers
    needed = [needed_by_window(sampler, 0, slice(w * share, (w + 1) * share)) for w in range(workers)]
    read = sum(len(ids) for windows, _ in needed for ids in windows)
    assert sampler.steps * 96 <= read <= 2 * sampler.steps * 96


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(("seed", "most"), [(1, 3), (4, 4)])
def test_a_batch_as_large_as_a_window_lies_in_several(
    pool: tuple[Location, PoolManifest], images: np.ndarray, seed: int, most: int
) -> None:
    from pipeline.on_ray.stream import StreamedPixels, needed_by_window

    sampler = Sampler(len(images), 6, BLOCK, seed, window=BLOCK)
    assert max(needed_by_window(sampler, epoch, slice(0, BLOCK))[1] for epoch in range(2)) == most
    stream = StreamedPixels(*pool, sampler, slice(0, BLOCK), first_epoch=0, epochs=2, device=torch.device("cpu"))
    for epoch in range(2):
        for step in sampler.epoch(epoch):
            for ids in (step.ids[step.shuffle], step.ids):
                assert torch.equal(stream.fetch(ids), torch.from_numpy(images[ids]).permute(0, 3, 1, 2))
