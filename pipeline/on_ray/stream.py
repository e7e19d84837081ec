"""A pool that does not fit in memory, streamed through Ray Data to one training worker.

The sampler shuffles inside windows of the pool, so windows are read in order, each once a repeat.
What a worker needs of a window is known in advance: only those images travel to it. Who reads them is told
in which row groups they lie: a task that had to find out would open every file of the pool, and all tasks
together as many as the square of the pool.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import ray.data
import torch
from torch import Tensor

from pipeline import device as devices
from pipeline.artifacts import Int64, PoolManifest, Uint8, image_column, images_of
from pipeline.data.pool import PoolReader, RowGroup
from pipeline.data.sampler import Sampler
from pipeline.storage import Location

_BYTES_PER_READ = 64 << 20
"""Of one task's images, whatever their size. Two tasks next to each other both read the row group that they share."""


class StreamedPixels:
    """The images a worker needs, arriving in the order in which the sampler will ask for them.

    Args:
        mine: the worker's rows of every global batch.
        first_epoch, epochs: what is left to train.
    """

    def __init__(
        self,
        store: Location,
        manifest: PoolManifest,
        sampler: Sampler,
        mine: slice,
        first_epoch: int,
        epochs: int,
        device: torch.device,
    ) -> None:
        self._store, self._manifest = store, manifest
        self._reader = PoolReader(store, manifest)
        self._shape = (manifest.height, manifest.width, manifest.channels)
        self._rows_per_read = max(1, _BYTES_PER_READ // math.prod(self._shape))
        self._sampler, self._mine, self._device = sampler, mine, device
        self._arriving = (window for epoch in range(first_epoch, epochs) for window in self._stream(epoch))
        self._windows: deque[tuple[Int64, Uint8]] = deque()
        self._held = 0

    def fetch(self, ids: Int64) -> Tensor:
        """(n, C, H, W) uint8 on the device, in the order of ids (n,)."""
        images = np.empty((len(ids), *self._shape), np.uint8)
        missing = np.ones(len(ids), bool)
        for window in list(self._windows):
            missing = _take(window, ids, images, missing)
        while missing.any():
            self._windows.append(next(self._arriving))
            while len(self._windows) > self._held:
                self._windows.popleft()
            missing = _take(self._windows[-1], ids, images, missing)
        return devices.send(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), self._device)

    def _stream(self, epoch: int) -> Iterator[tuple[Int64, Uint8]]:
        """The epoch's windows: (ids ascending, images (n, H, W, C))."""
        needed, at_once = needed_by_window(self._sampler, epoch, self._mine)
        self._held = max(self._held, at_once)
        reads = [np.array_split(ids, -(-len(ids) // self._rows_per_read)) for ids in needed]
        context = ray.data.DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        requests = [request(self._reader, part) for parts in reads for part in parts]
        # A reader of their own: it travels with every task, and this one knows all row groups of the pool.
        reader = PoolReader(self._store, self._manifest)
        stream = ray.data.from_arrow(requests).map_batches(
            read_images, fn_args=(reader,), batch_size=None, batch_format="pyarrow", num_cpus=0.25
        )
        batches = iter(stream.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2))
        for number, ids in enumerate(needed, start=1):
            # By rows, not by requests: Ray Data cuts what a task returns where it finds it large.
            images = np.empty((len(ids), *self._shape), np.uint8)
            arrived = 0
            while arrived < len(ids):
                part = images_of(next(batches)["image"], *self._shape)
                images[arrived : arrived + len(part)] = part
                arrived += len(part)
            if number == len(needed):
                # Read to its very end, or Ray Data takes it for abandoned and complains at shutdown.
                assert next(batches, None) is None
            yield ids, images


def needed_by_window(sampler: Sampler, epoch: int, mine: slice) -> tuple[list[Int64], int]:
    """For each shuffle window of the epoch the ids, ascending, that a worker will ask for: queries' and keys'.

    Returns:
        Them, and how many windows one batch of the worker's lies in at most. Two, as a rule; but a window may be as
        small as a batch, and the one that holds the pool's last block smaller.
    """
    needed: list[Int64] = []
    pending: list[Int64] = []
    current = at_once = 0
    for step in sampler.epoch(epoch):
        rows = np.union1d(np.arange(sampler.batch_size)[mine], step.shuffle[mine])
        windows = np.unique(step.window[rows])
        at_once = max(at_once, len(windows))
        for window in windows:
            if window != current and pending:
                needed.append(np.unique(np.concatenate(pending)))
                pending = []
            current = int(window)
            pending.append(step.ids[rows][step.window[rows] == window])
    if pending:
        needed.append(np.unique(np.concatenate(pending)))
    return needed, at_once


def request(reader: PoolReader, ids: Int64) -> pa.Table:
    """One row: the samples ``ids`` (n,), and the row groups that they lie in."""
    groups = [asdict(group) for group in reader.row_groups_with(ids)]
    return pa.table({"sample_id": pa.array([ids]), "groups": [groups]})


def read_images(request: pa.Table, reader: PoolReader) -> pa.Table:
    """The samples of a ``request``: sample_id and image."""
    ids = np.asarray(request["sample_id"].combine_chunks().flatten())
    groups = [RowGroup(**group) for group in request["groups"][0].as_py()]
    return pa.table({"sample_id": ids, "image": image_column(reader.images(ids, groups=groups))})


def _take(window: tuple[Int64, Uint8], ids: Int64, images: Uint8, missing: np.ndarray) -> np.ndarray:
    """Copy what the window has of the missing ids; returns what is missing still."""
    have, pixels = window
    at = np.searchsorted(have, ids).clip(max=len(have) - 1)
    found = missing & (have[at] == ids)
    images[found] = pixels[at[found]]
    return missing & ~found
