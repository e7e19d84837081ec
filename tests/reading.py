"""What tests look at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.artifacts import Int64, Uint8
from pipeline.data.pool import PoolReader
from pipeline.data.sampler import Sampler


def all_images(reader: PoolReader, split: str = "train") -> Uint8:
    """(N, H, W, C) in id order; each is there once, and the layout says what the files' footers say."""
    manifest = reader.manifest
    footers, ids = PoolReader(reader.store, replace(manifest, layout=None)), np.arange(manifest.splits[split])
    assert reader.row_groups_with(ids, split) == footers.row_groups_with(ids, split)
    images = np.empty((manifest.splits[split], manifest.height, manifest.width, manifest.channels), np.uint8)
    seen = np.zeros(len(images), int)
    for ids, part in reader.row_groups(split):
        images[ids] = part
        seen[ids] += 1
    assert (seen == 1).all()
    return images


def draws(sampler: Sampler, epochs: int) -> Int64:
    """(size,) how often each image is drawn in some epochs: epochs x repeats, less the dropped remainders."""
    counts = np.full(sampler.size, epochs * sampler.repeats, np.int64)
    dropped = sampler.size * sampler.repeats - sampler.steps * sampler.batch_size
    for epoch in range(epochs if dropped else 0):
        left, repeat = dropped, sampler.repeats
        while left > 0:
            repeat -= 1
            tail = np.concatenate(list(sampler.windows(epoch, repeat)))[-left:]
            np.subtract.at(counts, tail, 1)
            left -= len(tail)
    return counts
