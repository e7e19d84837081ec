"""The tables of docs/scale.md: what 1 M to 1 B images take, by formula. Nothing here is measured.

    python -m benchmarks.scale_plan            # print
    python -m benchmarks.scale_plan --write    # put them into docs/scale.md, below its marker

N = images, S = side in pixels, T = temperatures, D = feature dimensions, K = clusters, E = epochs, R = repeats,
B = batch, W = workers, F = FLOPs of one forward pass. GB are 10^9 bytes, hours are of one device.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pipeline.moco.fit import IMAGENET_DRAWS

DOCUMENT = Path(__file__).parents[1] / "docs" / "scale.md"
MARKER = "<!-- tables: python -m benchmarks.scale_plan --write -->"
SIZES = (10**6, 10**7, 10**8, 10**9)
SIDES = (28, 64, 224)
EPOCHS = {10**6: 200, 10**7: 100, 10**8: 30, 10**9: 10}
"""Assumed: the paper's 200 epochs up to 1.28 M draws each; fewer of larger pools, as ImageNet recipes have them."""


@dataclass(frozen=True)
class Assumed:
    """Round numbers of November 2026 to multiply with, not quotations; but for the utilisation not measured."""

    gpu_peak: float = 990e12
    """bf16 FLOP/s of one H100 SXM, dense."""
    utilisation: float = 0.062
    """Share of that peak: measured on an H100 at 28 px and batch 4,096 (RESULTS.md); larger images were not tried."""
    gpu_dollars: float = 3.0
    """One such GPU, an hour."""
    core_dollars: float = 0.04
    """One CPU core with 4 GiB, an hour."""
    storage_dollars: float = 0.023
    """One GB on object storage, a month."""
    source_bytes: float = 50e3
    """One compressed source image."""
    decoded: float = 500.0
    """Images of that size decoded and resized, a second and core."""
    core_flops: float = 15e9
    """float32 FLOP/s of one core in a pass of K-means, everything included."""


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
    workers: int = 8
    projection: int = 128

    @property
    def pool_bytes(self) -> int:
        """3 S^2 N: as stored (noise-like pixels hardly compress), and once more while ingest stages."""
        return 3 * self.side**2 * self.images

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
        return self.draws * 4 * forward_flops(self.arch, self.side) / self._gpu_flops / 3600

    @property
    def embed_hours(self) -> float:
        """F N / (peak x utilisation)."""
        return self.images * forward_flops(self.arch, self.side) / self._gpu_flops / 3600

    @property
    def ingest_core_hours(self) -> float:
        """N / decoded."""
        return self.images / self.assumed.decoded / 3600

    @property
    def cluster_core_hours(self) -> float:
        """12 passes of 2 N K D: ten of Lloyd, the last assignment, and one that draws the sample."""
        return 12 * 2 * self.images * self.k * self.dimensions / self.assumed.core_flops / 3600

    @property
    def sums_bytes(self) -> int:
        """(24 T + 16) N within an epoch, on every worker's device, where R = 1; else (48 T + 24) N."""
        each = 24 * self.temperatures + 16 if self.repeats == 1 else 48 * self.temperatures + 24
        return each * self.images

    @property
    def checkpoint_bytes(self) -> int:
        """Two encoders, the momentum, and the sums between epochs: (16 T + 8) N where R = 1, else (32 T + 16) N."""
        each = 16 * self.temperatures + 8 if self.repeats == 1 else 32 * self.temperatures + 16
        return 3 * 4 * self.parameters + each * self.images

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
        """48 T N before compression."""
        return 48 * self.temperatures * self.images

    @property
    def feature_bytes(self) -> int:
        """4 D N."""
        return 4 * self.dimensions * self.images

    @property
    def cluster_bytes(self) -> int:
        """Features up to 4 GiB are held, beyond them only labels and distances: 40 N."""
        held = self.feature_bytes if self.feature_bytes <= 4 << 30 else 0
        return held + 40 * self.images

    @property
    def query_bytes(self) -> int:
        """(48 + 16 + 5 x 8 + 2 x 24) N: one temperature's rows, clusters, the view, its sorts; keys come on top."""
        return (48 + 16 + 40 + 48) * self.images

    @property
    def dollars(self) -> dict[str, float]:
        """By stage; storage is the pool and the features for one month."""
        prices = self.assumed
        return {
            "ingest": self.ingest_core_hours * prices.core_dollars,
            "pretrain": self.train_hours * prices.gpu_dollars,
            "embed": self.embed_hours * prices.gpu_dollars,
            "cluster": self.cluster_core_hours * prices.core_dollars,
            "storage": (self.pool_bytes + self.feature_bytes) / 1e9 * prices.storage_dollars,
        }

    @property
    def _gpu_flops(self) -> float:
        return self.assumed.gpu_peak * self.assumed.utilisation


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
    parts = [
        _table("Assumptions", ["what", "value"], [[name, f"{value:g}"] for name, value in vars(Assumed()).items()]),
        f"GFLOP of one forward pass of ResNet-50 (counted, not assumed): {flops}. Epochs: "
        + ", ".join(f"{epochs} of {images:,}" for images, epochs in EPOCHS.items())
        + ".",
        _table(
            "By image size: bytes and GPU hours",
            ["images", "px", "pool GB", "source GB read", "pretrain GPU h", "GPU h an epoch", "embed GPU h"],
            [
                [
                    f"{p.images:,}",
                    str(p.side),
                    _gb(p.pool_bytes),
                    _gb(p.images * p.assumed.source_bytes),
                    _number(p.train_hours),
                    _number(p.train_hours / EPOCHS[p.images]),
                    _number(p.embed_hours),
                ]
                for p in plans
            ],
        ),
        _table(
            "By image size: dollars (arithmetic on the assumptions)",
            ["images", "px", "ingest", "pretrain", "embed", "cluster", "storage a month"],
            [[f"{p.images:,}", str(p.side), *(_number(value) for value in p.dollars.values())] for p in plans],
        ),
        _table(
            "By number of images alone (T = 4, D = 2048, K = 30): GB",
            [
                "images",
                "sums a device",
                "checkpoint",
                "sent a worker and epoch",
                "all-reduced an epoch",
                "confidence table",
                "features",
                "cluster holds",
                "query holds",
                "cluster core h",
            ],
            [
                [
                    f"{p.images:,}",
                    _gb(p.sums_bytes),
                    _gb(p.checkpoint_bytes),
                    _gb(p.sent_bytes_a_step * (p.images * p.repeats // p.batch)),
                    _gb(p.summed_bytes_an_epoch),
                    _gb(p.confidence_bytes),
                    _gb(p.feature_bytes),
                    _gb(p.cluster_bytes),
                    _gb(p.query_bytes),
                    _number(p.cluster_core_hours),
                ]
                for p in (Plan(images, 28) for images in SIZES)
            ],
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


def _table(title: str, head: list[str], rows: list[list[str]]) -> str:
    lines = [f"### {title}", "", f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _gb(value: float) -> str:
    return _number(value / 1e9)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
