"""The tables of docs/scale.md: what 1 M to 1 B images take, by formula, from assumptions and measured figures.

    python -m speed.scale_plan            # print
    python -m speed.scale_plan --write    # put them into docs/scale.md, below its marker

N = images, S = side in pixels, T = temperatures, D = feature dimensions, K = clusters, E = epochs, R = repeats,
B = batch, W = workers, F = FLOPs of one forward pass. GB are 10^9 bytes, hours are of one device. What is held is
measured by ``speed.held`` and ``speed.sums``, each beside its formula here.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from pipeline.cluster.assignment import BLOCK_ROWS
from pipeline.cluster.sklearn_backend import SAMPLE_ROWS, SEEN_ROWS, STARTS_AND_CLUSTERS
from pipeline.config import EmbedConfig, IngestConfig
from pipeline.data.staging import Sizes
from pipeline.moco.fit_settings import IMAGENET_DRAWS
from pipeline.on_ray.read_features import CHUNK_BYTES, HELD_BYTES
from pipeline.on_ray.stream import BYTES_PER_READ
from pipeline.on_ray.write_features import rows_of_a_file

DOCUMENT = Path(__file__).parents[1] / "docs" / "scale.md"
MARKER = "<!-- tables: python -m speed.scale_plan --write -->"
SIZES = (10**6, 10**7, 10**8, 10**9)
SIDES = (28, 64, 224)
EPOCHS = {10**6: 200, 10**7: 100, 10**8: 30, 10**9: 10}
"""Assumed: the paper's 200 epochs up to 1.28 M draws each; fewer of larger pools, as ImageNet recipes have them."""
RECEIPT_BYTES = 53
"""Of ingest, a sample: split, position, SHA-256."""
SURVEY_BYTES = 140
"""A sample, while one task lists a folder: names of 22 letters, sizes, times, and the same sorted."""
LISTING_BYTES = 38
"""Of that list, a sample: such a name and a size."""
SETTLE_BYTES = 425
"""A sample, while one task seeks duplicates among the receipts and sorts them: measured 423 with 1% of them twice."""
QUERY_BYTES = 290
"""A sample, of which keys of 22 letters take some 50: measured 277 to 297."""
POOL_WRITER_SHARE = 2.2
"""Of a pool file's pixels, what who writes it holds: measured 2.0 at 128 MiB."""
WRITER_SHARE = 1.35
"""Of a file of features, what who writes it holds: measured 1.1 and 1.31 at 65,536 x 2048."""
PART_BYTES = 10 << 20
"""Of a file on S3, what pyarrow sends in one request."""
MAP_POINTS = 5000
"""Of the report's map of features."""


@dataclass(frozen=True)
class Assumed:
    """Prices are round numbers of November 2026 to multiply with, not quotations; measured ones say so."""

    gpu_peak: float = 990e12
    """bf16 FLOP/s of one H100 SXM, dense."""
    utilisation: float = 0.062
    """Share of that peak in training: measured on an H100 at 28 px and batch 4,096; larger images were not tried."""
    embedded: float = 346_625
    """Images of 28 px that the embedder does a second on that card, measured; larger ones at as many FLOP/s."""
    resident_bytes: float = 40e9
    """Pools up to this are kept on the device: half of an 80 GB card."""
    gpu_dollars: float = 3.0
    """One such GPU, an hour."""
    core_dollars: float = 0.04
    """One CPU core with 4 GiB, an hour."""
    storage_dollars: float = 0.023
    """One GB on object storage, a month."""
    put_dollars: float = 5e-6
    """One PUT or LIST request to it."""
    get_dollars: float = 0.4e-6
    """One GET request."""
    list_seconds: float = 0.1
    """One LIST request of a thousand names: not measured."""
    source_bytes: float = 50e3
    """One compressed source image."""
    decoded: float = 500.0
    """Images of that size decoded and resized, a second and core."""
    clustered: float = 69_000
    """Rows in a pass of K-means at K = 30 and D = 2048, a CPU second: measured (RESULTS.md, what stages hold)."""


@dataclass(frozen=True)
class Plan:
    """One run. Defaults: ResNet-50 of the preset ``medmnist``, our settings as shipped."""

    images: int
    side: int
    assumed: Assumed = Assumed()
    arch: str = "resnet50"
    temperatures: int = 4
    dimensions: int = 2048
    k: int = 30
    parameters: int = 28_000_000
    """Of one encoder with its head."""
    batch: int = 4096
    queue: int = 65_536
    workers: int = 8
    projection: int = 128
    cores: int = 8
    """Of the machine that clusters."""

    # ---- ingest ----

    @property
    def pool_bytes(self) -> int:
        """3 S^2 N: as stored (noise-like pixels hardly compress), and once more while ingest stages."""
        return 3 * self.side**2 * self.images

    @property
    def sizes(self) -> Sizes:
        """Images of a staged file, rows of a pool file and of a row group."""
        return Sizes.of((self.side, self.side, 3), IngestConfig.rows_per_file)

    @property
    def pool_files(self) -> int:
        """N / rows of a file."""
        return -(-self.images // self.sizes.file)

    @property
    def ingest_tasks(self) -> int:
        """Pieces, and files: each a task of Ray's."""
        return -(-self.images // self.sizes.staged) + self.pool_files

    @property
    def listing_hours(self) -> float:
        """A request for a thousand names on S3, one after the other."""
        return self.images / 1000 * self.assumed.list_seconds / 3600

    @property
    def receipt_bytes(self) -> int:
        """53 N, sent to the one task that settles ids."""
        return RECEIPT_BYTES * self.images

    @property
    def settle_bytes(self) -> int:
        """425 N, held by it."""
        return SETTLE_BYTES * self.images

    @property
    def survey_bytes(self) -> int:
        """140 N, held by the task that lists a folder; 80 N more where there are labels."""
        return SURVEY_BYTES * self.images

    @property
    def listing_bytes(self) -> int:
        """38 N with keys of 22 letters: in the object store of every node that reads from the folder."""
        return LISTING_BYTES * self.images

    @property
    def ingest_core_hours(self) -> float:
        """N / decoded."""
        return self.images / self.assumed.decoded / 3600

    # ---- pretrain ----

    @property
    def repeats(self) -> int:
        """How ``moco.fit`` chooses them."""
        return max(1, IMAGENET_DRAWS // self.images)

    @property
    def draws(self) -> int:
        """N R E."""
        return self.images * self.repeats * EPOCHS[self.images]

    @property
    def train_hours(self) -> float:
        """4 F draws / (peak x utilisation): query forward and backward (3 F), key forward (F)."""
        flops = self.assumed.gpu_peak * self.assumed.utilisation
        return self.draws * 4 * forward_flops(self.arch, self.side) / flops / 3600

    @property
    def streamed(self) -> bool:
        """Whether the pool does not fit on the device."""
        return self.pool_bytes > self.assumed.resident_bytes

    @property
    def read_bytes(self) -> int:
        """W pools, one a worker, where it is kept; R E in all, each worker its share, where it is streamed."""
        return self.pool_bytes * (self.repeats * EPOCHS[self.images] if self.streamed else self.workers)

    @property
    def shipped_bytes_an_epoch(self) -> int:
        """R pools, from who reads to who trains, where the pool is streamed."""
        return self.repeats * self.pool_bytes if self.streamed else 0

    @property
    def stream_tasks_an_epoch(self) -> int:
        """Of all workers together: 64 MiB of images each."""
        return -(-self.shipped_bytes_an_epoch // BYTES_PER_READ)

    @property
    def exchanged_share(self) -> float:
        """(2 - 1/W) (1 - 1/W) of what is read: of W workers 2 - 1/W encode an image, and one has it already."""
        return (2 - 1 / self.workers) * (1 - 1 / self.workers)

    @property
    def exchanged_bytes_an_epoch(self) -> float:
        """That share of R pools, from worker to worker."""
        return self.exchanged_share * self.shipped_bytes_an_epoch

    @property
    def id_list_bytes(self) -> float:
        """8 R N / W: a streaming worker's requests of an epoch; as much again in the object store."""
        return 8 * self.repeats * self.images / self.workers if self.streamed else 0

    @property
    def sums_bytes(self) -> int:
        """(24 T + 16) N within an epoch, on every worker's device, where R = 1; else (48 T + 24) N."""
        each = 24 * self.temperatures + 16 if self.repeats == 1 else 48 * self.temperatures + 24
        return each * self.images

    @property
    def checkpoint_bytes(self) -> int:
        """Two encoders, the momentum, the queue, and the sums between epochs: (16 T + 8) N; R > 1: (32 T + 16) N."""
        each = 16 * self.temperatures + 8 if self.repeats == 1 else 32 * self.temperatures + 16
        return 3 * 4 * self.parameters + 4 * self.queue * self.projection + each * self.images

    @property
    def sent_bytes_a_step(self) -> float:
        """Into each worker: gradients (ring: 8 P (W-1)/W), gathered keys and queries (2 B x 4 x 128 (W-1)/W)."""
        others = (self.workers - 1) / self.workers
        return others * (2 * 4 * self.parameters + 2 * 4 * self.batch * self.projection)

    @property
    def summed_bytes_an_epoch(self) -> int:
        """All-reduced at its end: (8 T + 8) N where R = 1, else (16 T + 8) N."""
        return (8 * self.temperatures * (1 if self.repeats == 1 else 2) + 8) * self.images

    @property
    def confidence_bytes(self) -> int:
        """48 T N before compression; written a million rows at a time."""
        return 48 * self.temperatures * self.images

    # ---- embed, cluster, query, report ----

    @property
    def embed_hours(self) -> float:
        """N / embedded, by F."""
        larger = forward_flops(self.arch, self.side) / forward_flops(self.arch, 28)
        return self.images * larger / self.assumed.embedded / 3600

    @property
    def feature_bytes(self) -> int:
        """4 D N."""
        return 4 * self.dimensions * self.images

    @property
    def feature_writer_bytes(self) -> int:
        """1.35 of a file, which has 65,536 rows and 512 MiB at most."""
        rows = rows_of_a_file(EmbedConfig.rows_per_file, self.images, self.dimensions)
        return int(WRITER_SHARE * 4 * self.dimensions * rows)

    @property
    def features_held(self) -> bool:
        """Whether the cluster stage has them in one array: up to 4 GiB."""
        return self.feature_bytes <= HELD_BYTES

    @property
    def cluster_bytes(self) -> int:
        """Features, or two chunks of 64 MiB and the 2 c + 1 blocks that wait for c cores; a block a core; labels and
        distances, 40 N; and what the starts take, which come first.

        These are a sample of max(20,000, 100 K) rows, in float64 as much of it as k-means++ sees, and a copy for each
        of the starts (10 at most, 300 / K) that run at once. A block has 4,096 rows.
        """
        row = 4 * self.dimensions
        seen = min(self.images, max(SEEN_ROWS, 30 * self.k))
        sample = min(self.images, max(SAMPLE_ROWS, 100 * self.k))
        starts = max(1, min(10, STARTS_AND_CLUSTERS // self.k, self.cores))
        block = row * BLOCK_ROWS
        held = self.feature_bytes if self.features_held else 2 * CHUNK_BYTES + (2 * self.cores + 1) * block
        return held + self.cores * block + row * (2 * seen + (1 + starts) * sample) + 40 * self.images

    @property
    def cluster_store_bytes(self) -> int:
        """4 D N where they are not held: sorted once by an all-to-all exchange, then kept by Ray, on disk or not."""
        return 0 if self.features_held else self.feature_bytes

    @property
    def cluster_core_hours(self) -> float:
        """12 passes at most: ten of Lloyd, the last assignment, one that draws the sample. For K = 30 and D = 2048."""
        return 12 * self.images / self.assumed.clustered / 3600

    @property
    def query_bytes(self) -> int:
        """290 N with keys of 22 letters: one temperature's rows, clusters, the view, its sorts, the order."""
        return QUERY_BYTES * self.images

    @property
    def map_bytes(self) -> float:
        """Features that the report reads, at most: the row groups (8 MiB) that 5,000 random samples lie in."""
        groups = self.feature_bytes / (8 << 20)
        return self.feature_bytes * (1 - (1 - 1 / groups) ** MAP_POINTS)

    # ---- money ----

    @property
    def request_dollars(self) -> float:
        """GET: two for each source and three for each staged file and row group that pretraining reads, one of them a
        HEAD, which costs the same. PUT: two for each staged and pool file, and one for every 10 MiB of it (a multipart
        upload, as pyarrow makes them). LIST: a thousand sources at a time.
        """
        staged, groups = self.images / self.sizes.staged, self.images / self.sizes.group
        reads = self.read_bytes / self.pool_bytes
        gets, lists = 2 * self.images + 3 * (staged + groups * reads), self.images / 1000
        files = ((staged, self.sizes.staged), (self.pool_files, self.sizes.file))
        puts = sum(number * (2 + -(-rows * 3 * self.side**2 // PART_BYTES)) for number, rows in files) + lists
        return gets * self.assumed.get_dollars + puts * self.assumed.put_dollars

    @property
    def dollars(self) -> dict[str, float]:
        """By stage; storage for one month: pool and features, and the sources beside them."""
        prices = self.assumed
        month = prices.storage_dollars / 1e9
        return {
            "ingest": self.ingest_core_hours * prices.core_dollars,
            "pretrain": self.train_hours * prices.gpu_dollars,
            "embed": self.embed_hours * prices.gpu_dollars,
            "cluster": self.cluster_core_hours * prices.core_dollars,
            "requests": self.request_dollars,
            "storage a month": (self.pool_bytes + self.feature_bytes) * month,
            "sources a month": self.images * prices.source_bytes * month,
        }


@lru_cache
def forward_flops(arch: str, side: int) -> int:
    """FLOPs (two a multiplication and addition) of one image, counted by torch on tensors without data."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from pipeline.moco.model import BACKBONES

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        BACKBONES[arch](weights=None).eval()(torch.empty(1, 3, side, side))
    return int(counter.get_total_flops())


def tables() -> str:
    """All tables, as Markdown."""
    plans = [Plan(images, side) for images in SIZES for side in SIDES]
    flops = ", ".join(f"{forward_flops('resnet50', side) / 1e9:.2f} at {side} px" for side in SIDES)
    epochs = ", ".join(f"{epochs} of {images:,}" for images, epochs in EPOCHS.items())
    by_images = [Plan(images, 28) for images in SIZES]
    parts = [
        _table("Assumptions", ["what", "value"], [[name, f"{value:g}"] for name, value in vars(Assumed()).items()]),
        f"GFLOP of one forward pass of ResNet-50 (counted, not assumed): {flops}. Epochs: {epochs}.",
        _by_size(
            "By image size: bytes and GPU hours",
            plans,
            {
                "pool GB": lambda p: _gb(p.pool_bytes),
                "source GB read": lambda p: _gb(p.images * p.assumed.source_bytes),
                "pool files": lambda p: f"{p.pool_files:,}",
                "ingest tasks": lambda p: f"{p.ingest_tasks:,}",
                "pretrain GPU h": lambda p: _number(p.train_hours),
                "GPU h an epoch": lambda p: _number(p.train_hours / EPOCHS[p.images]),
                "embed GPU h": lambda p: _number(p.embed_hours),
            },
        ),
        _by_size(
            "By image size: how pre-training gets at the pool (W = 8)",
            plans,
            {
                "pool": lambda p: "streamed" if p.streamed else "kept",
                "GB read in all": lambda p: _gb(p.read_bytes),
                "GB through Ray an epoch": lambda p: _gb(p.shipped_bytes_an_epoch),
                "tasks an epoch": lambda p: f"{p.stream_tasks_an_epoch:,}",
                "GB between workers an epoch": lambda p: _gb(p.exchanged_bytes_an_epoch),
                "GB of ids a worker": lambda p: _gb(p.id_list_bytes),
            },
        ),
        _by_size(
            "By image size: dollars (arithmetic on the assumptions)",
            plans,
            {name: partial(_dollars, name=name) for name in plans[0].dollars},
        ),
        _by_size(
            "By number of images alone (T = 4, W = 8): GB",
            by_images,
            {
                "receipts": lambda p: _gb(p.receipt_bytes),
                "a folder's list": lambda p: _gb(p.listing_bytes),
                "listing on S3, hours": lambda p: _number(p.listing_hours),
                "listing holds": lambda p: _gb(p.survey_bytes),
                "settling holds": lambda p: _gb(p.settle_bytes),
                "sums a device": lambda p: _gb(p.sums_bytes),
                "checkpoint": lambda p: _gb(p.checkpoint_bytes),
                "sent a worker and epoch": lambda p: _gb(p.sent_bytes_a_step * (p.images * p.repeats // p.batch)),
                "all-reduced an epoch": lambda p: _gb(p.summed_bytes_an_epoch),
                "confidence table": lambda p: _gb(p.confidence_bytes),
                "query holds": lambda p: _gb(p.query_bytes),
            },
            side=False,
        ),
        _by_size(
            "By number of images alone (D = 2048, K = 30, cluster.backend = sklearn on 8 cores): GB",
            by_images,
            {
                "features": lambda p: _gb(p.feature_bytes),
                "who writes them holds": lambda p: _gb(p.feature_writer_bytes),
                "cluster holds": lambda p: _gb(p.cluster_bytes),
                "cluster in Ray's object store": lambda p: _gb(p.cluster_store_bytes),
                "cluster core h": lambda p: _number(p.cluster_core_hours),
                "report reads of features": lambda p: _gb(p.map_bytes),
            },
            side=False,
        ),
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--write", action="store_true", help="into docs/scale.md")
    if parse.parse_args().write:
        DOCUMENT.write_text(f"{DOCUMENT.read_text().partition(MARKER)[0]}{MARKER}\n\n{tables()}")
    else:
        print(tables())


def _by_size(title: str, plans: list[Plan], columns: dict[str, Callable[[Plan], str]], side: bool = True) -> str:
    """A row a plan; ``columns`` by their heads."""
    rows = [
        [f"{plan.images:,}", *([str(plan.side)] if side else []), *(cell(plan) for cell in columns.values())]
        for plan in plans
    ]
    return _table(title, ["images", *(["px"] if side else []), *columns], rows)


def _dollars(plan: Plan, name: str) -> str:
    return _number(plan.dollars[name])


def _table(title: str, head: list[str], rows: list[list[str]]) -> str:
    lines = [f"### {title}", "", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _gb(value: float) -> str:
    return _number(value / 1e9)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
