"""A pool that does not fit in memory, streamed through Ray Data to the training workers.

The sampler shuffles inside windows of the pool. So windows are read in order, each once a repeat, ahead of training.
Every worker reads an equal part. A batch has images of all parts: workers exchange them, batch by batch, over the
network that their gradients take. A reading task is given the row groups in which its images lie. If it had to find
out, it would open every file of the pool.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import ray.data
import torch
from torch import Tensor

from pipeline import device as devices
from pipeline import dist
from pipeline.artifacts import Int64, PoolManifest, Uint8, image_column, images_of
from pipeline.data.pool import PoolReader, RowGroup
from pipeline.data.sampler import Sampler, Step
from pipeline.data.worker_messages import Exchange, Share
from pipeline.storage import Location

BYTES_PER_READ = 64 << 20
"""Size of one task's images, in bytes."""
WINDOWS_HELD = 3
"""Windows held at a time: two that a batch spans (more if it is larger than a window), and the next."""


@dataclass(frozen=True)
class Window:
    """What a worker has read of one of an epoch's shuffle windows."""

    number: int
    """Its place in the epoch."""
    share: Share
    images: Uint8
    """(n, H, W, C), of the share's ids."""


class StreamedPixels:
    """The images that a worker needs, in the order in which the sampler asks for them.

    Args:
        first_epoch, epochs: what is left to train.
    """

    def __init__(
        self,
        store: Location,
        manifest: PoolManifest,
        sampler: Sampler,
        first_epoch: int,
        epochs: int,
        device: torch.device,
    ) -> None:
        self._store, self._manifest = store, manifest
        self._reader = PoolReader(store, manifest)
        self._shape = (manifest.height, manifest.width, manifest.channels)
        self._sampler, self._device = sampler, device
        self._closed = threading.Event()
        self._coming = self._stream(range(first_epoch, epochs))
        self._thread = ThreadPoolExecutor(1, "stream")
        self._arriving = self._read_on()
        self._windows: deque[Window] = deque()
        self._pace = devices.Pace(device)

    def fetch(self, step: Step, parts: Sequence[slice]) -> tuple[Tensor, Tensor]:
        """As ``train.Pixels`` has it; a message from every worker to every one."""
        self._advance(step)
        mine = parts[dist.rank()]
        of_window = [(window, step.window == window.number) for window in self._windows]
        holder = np.empty(len(step.ids), np.int64)
        for window, rows in of_window:
            holder[rows] = window.share.holder(step.ids[rows])
        exchange = Exchange.of(step, parts, holder, dist.rank())
        sent = np.concatenate(exchange.send)
        images = np.empty((len(sent), *self._shape), np.uint8)
        for window, rows in of_window:
            here = rows[sent]
            images[here] = window.images[np.searchsorted(window.share.ids, step.ids[sent[here]])]
        arrived = dist.exchange_rows(
            devices.send(torch.from_numpy(images), self._device),
            [len(rows) for rows in exchange.send],
            [len(rows) for rows in exchange.receive],
        )
        place = np.empty(len(step.ids), np.int64)
        place[np.concatenate(exchange.receive)] = np.arange(len(arrived))
        first, second = (
            arrived[devices.send(torch.from_numpy(rows), self._device)].permute(0, 3, 1, 2).contiguous()
            for rows in (place[mine], place[step.shuffle[mine]])
        )
        self._pace.sent()
        return first, second

    def close(self) -> None:
        """Stop reading and wait until it has stopped. Ray may then be shut down.

        Ray Data's own threads end with the generator that holds its iterator, which mostly waits at a ``yield``. Left
        running, they would ask a Ray that is gone, and so start another.
        """
        self._closed.set()
        self._thread.shutdown()
        self._coming.close()

    def _advance(self, step: Step) -> None:
        """Hold only the windows that a batch spans."""
        if step.index == 0:
            self._windows.clear()
        while not self._windows or self._windows[-1].number < step.window[-1]:
            window = self._arriving.result()
            assert window is not None, "all epochs have been streamed, or the stream is closed"
            self._windows.append(window)
            self._arriving = self._read_on()
        while self._windows[0].number < step.window[0]:
            self._windows.popleft()

    def _read_on(self) -> Future[Window | None]:
        """The next window, while those before it are in use; none after the last."""
        return self._thread.submit(next, self._coming, None)

    def _stream(self, epochs: range) -> Generator[Window]:
        """All windows of all ``epochs``; fewer when the stream is closed."""
        for epoch in epochs:
            yield from self._windows_of(epoch)

    def _windows_of(self, epoch: int) -> Generator[Window]:
        shares = [Share.of(ids, dist.world_size(), dist.rank()) for _, ids in self._sampler.drawn(epoch)]
        most = max(1, BYTES_PER_READ // math.prod(self._shape))
        # A reader of their own: it travels with every task, and this one may know all row groups of the pool.
        reader = PoolReader(self._store, self._manifest)
        # Not from_arrow: its tasks need a whole CPU each. Workers may have left none, and the tasks would wait forever.
        stream = ray.data.from_blocks(
            [each for share in shares for each in requests(self._reader, share.ids, most)]
        ).map_batches(read_images, fn_args=(reader,), batch_size=None, batch_format="pyarrow", num_cpus=0.25)
        read_for_training(stream)
        batches = iter(stream.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2))
        for number, share in enumerate(shares):
            # By rows, not by requests: Ray Data cuts what a task returns where it finds it large.
            images = np.empty((len(share.ids), *self._shape), np.uint8)
            arrived = 0
            while arrived < len(images):
                if self._closed.is_set():
                    return
                part = images_of(next(batches)["image"], *self._shape)
                images[arrived : arrived + len(part)] = part
                arrived += len(part)
            if number + 1 == len(shares):
                # Read to the end, or Ray Data thinks it abandoned and warns at shutdown.
                assert next(batches, None) is None
            yield Window(number, share, images)


def read_for_training(stream: ray.data.Dataset) -> None:
    """Set how Ray Data goes about a worker's stream: in order, beside those of the other workers, with long pauses."""
    options = stream.context.execution_options
    options.preserve_order = True
    # Otherwise each stream claims half of all resources, and together they spill what they read ahead to disk.
    all_there_is = ray.cluster_resources().get("object_store_memory", 0)
    options.resource_limits = ray.data.ExecutionResources(object_store_memory=all_there_is / 2 / dist.world_size())
    stream.context.enable_progress_bars = False
    stream.context.execution_no_progress_timeout_s = -1  # it pauses while a window is trained on, perhaps for hours


def requests(reader: PoolReader, ids: Int64, most: int) -> list[pa.Table]:
    """For each task that reads one row: its samples, of ``ids`` (n,) ascending, and the row groups that they lie in.

    Args:
        most: samples of one task, and up to a row group more: no row group is for two, unless nobody knows where one
            ends.
    """
    groups = reader.row_groups_with(ids)
    starts = np.searchsorted(ids, np.array([group.lowest for group in groups], np.int64))
    wanted = np.searchsorted(starts, np.arange(most, len(ids), most))
    cuts = np.unique(starts[wanted.clip(max=len(starts) - 1)])
    tasks = []
    for part in np.split(ids, cuts):
        # If row groups overlap, or footers do not say what they hold, there is no place to cut.
        uncut = len(part) > 2 * most and len(reader.row_groups_with(part)) > 2
        for some in np.split(part, range(most, len(part), most)) if uncut else [part]:
            holding = [asdict(group) for group in reader.row_groups_with(some)]
            if holding:
                tasks.append(pa.table({"sample_id": pa.array([some]), "groups": [holding]}))
    return tasks


def read_images(request: pa.Table, reader: PoolReader) -> pa.Table:
    """The samples of one of ``requests``: sample_id and image."""
    ids = np.asarray(request["sample_id"].combine_chunks().flatten())
    groups = [RowGroup(**group) for group in request["groups"][0].as_py()]
    return pa.table({"sample_id": ids, "image": image_column(reader.images(ids, groups=groups))})
