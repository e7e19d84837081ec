"""What tests look at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.artifacts import Uint8
from pipeline.data.pool import PoolReader


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
