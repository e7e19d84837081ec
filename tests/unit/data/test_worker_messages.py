"""Who sends what to whom, against a plain loop over rows, and delivered by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.data.sampler import BLOCK, Sampler
from pipeline.data.worker_messages import Exchange, Share


@pytest.mark.parametrize(("size", "workers"), [(1, 3), (2, 3), (10, 1), (10, 3), (4096, 8)])
def test_shares_are_equal_parts_that_know_one_another(size: int, workers: int) -> None:
    window = np.random.default_rng(0).permutation(3 * size)[:size]
    shares = [Share.of(window, workers, worker) for worker in range(workers)]
    assert np.array_equal(np.concatenate([share.ids for share in shares]), np.sort(window))
    assert max(len(share.ids) for share in shares) - min(len(share.ids) for share in shares) <= 1
    for asked in shares:
        for worker, share in enumerate(shares):
            assert (asked.holder(share.ids) == worker).all()


@pytest.mark.parametrize("sizes", [[96], [48, 48], [24, 24, 48], [12] * 8])
def test_everybody_gets_what_it_encodes_once_and_knows_from_whom(sizes: list[int]) -> None:
    workers, edges = len(sizes), np.cumsum([0, *sizes])
    parts = [slice(edges[worker], edges[worker + 1]) for worker in range(workers)]
    sampler = Sampler(3 * BLOCK + 77, 1, 96, seed=1, window=BLOCK)
    for step in sampler.epoch(0):
        holder = np.random.default_rng(step.index).integers(workers, size=96)
        exchanges = [Exchange.of(step, parts, holder, worker) for worker in range(workers)]
        for worker, part in enumerate(parts):
            encodes = {*range(part.start, part.stop), *step.shuffle[part].tolist()}
            for other in range(workers):
                message = sorted(row for row in encodes if holder[row] == other)
                assert exchanges[worker].receive[other].tolist() == message
                assert exchanges[other].send[worker].tolist() == message
