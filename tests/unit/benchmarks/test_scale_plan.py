"""The plan's figures, against some worked out by hand; and the document, against the script."""

from __future__ import annotations

import pytest

from benchmarks.scale_plan import DOCUMENT, MARKER, Assumed, Plan, forward_flops, tables


def test_bytes_by_hand() -> None:
    plan = Plan(10**8, 64)
    assert plan.pool_bytes == 1_228_800_000_000  # 100 M x 64 x 64 x 3
    assert plan.sums_bytes == 11_200_000_000  # 112 bytes a sample, as benchmarks/sums.py allocates
    assert plan.checkpoint_bytes == 336_000_000 + 7_200_000_000
    assert plan.summed_bytes_an_epoch == 4_000_000_000
    assert plan.feature_bytes == 819_200_000_000
    assert plan.confidence_bytes == 19_200_000_000
    assert plan.cluster_bytes == 4_000_000_000  # the features themselves pass as a stream


def test_a_small_pool_is_drawn_several_times_an_epoch_and_held_whole() -> None:
    plan = Plan(10**6, 28, dimensions=512)
    assert plan.repeats == 1 and plan.draws == 200_000_000
    assert plan.cluster_bytes == 4 * 512 * 10**6 + 40_000_000
    assert Plan(10**5, 28).repeats == 12
    assert Plan(10**5, 28).sums_bytes == 216 * 10**5


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
