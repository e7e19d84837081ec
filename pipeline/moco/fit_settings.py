"""Fit the pre-training settings to the pool at hand, and say what was changed."""

from __future__ import annotations

from dataclasses import replace

from pipeline.config import PretrainConfig
from pipeline.errors import InputError
from pipeline.progress import counted

PAPER_REPEATS = {89_996: 14, 34_581: 37, 11_959: 105}
"""Table 4: PathMNIST, OrganAMNIST, BloodMNIST, by pool size."""
FEWEST_STEPS = 300
"""280 were seen to be too few for the order to beat chance everywhere (docs/dev/log.md)."""
IMAGENET_DRAWS = 1_280_000
"""The draws an epoch should have about; Table 4's reason for its repeats."""


def fit_to_pool(config: PretrainConfig, size: int, workers: int) -> tuple[PretrainConfig, list[str]]:
    """The settings with repeats resolved and batch and queue chosen down where the pool is small.

    Returns:
        the settings, and a note for each that was chosen down, and one where the training is too short.

    Raises:
        InputError: numbers that cannot work together.
    """
    notes: list[str] = []
    repeats = config.repeats or PAPER_REPEATS.get(size) or max(1, IMAGENET_DRAWS // size)
    splits, draws = config.bn_splits, size * repeats
    check_splits(config, workers)
    batch = config.batch_size
    if batch > draws:
        batch = draws // splits * splits
        if batch < 2 * splits:
            raise InputError(
                f"A pool of {counted(size, 'image')} is too small to pre-train with pretrain.bn_splits={splits}: "
                f"a split needs 2 images; add images or lower pretrain.bn_splits."
            )
        notes.append(
            f"pretrain.batch_size chosen down from {config.batch_size} to {batch}: an epoch has {draws} draws."
        )
    queue = config.queue_size
    if queue > draws or queue % batch:
        queue = max(batch, min(queue, draws) // batch * batch)
        notes.append(
            f"pretrain.queue_size chosen from {config.queue_size} to {queue}: "
            f"whole batches of {batch}, and no more than an epoch's {draws} draws."
        )
    steps = draws // batch * config.epochs
    if steps < FEWEST_STEPS:
        notes.append(
            f"pretrain has {counted(steps, 'step')} ({counted(config.epochs, 'epoch')} of {draws // batch}), "
            "too few to learn much from: "
            "the order may be no better than chance. Raise pretrain.epochs, or lower pretrain.batch_size."
        )
    return replace(config, repeats=repeats, batch_size=batch, queue_size=queue), notes


def check_splits(config: PretrainConfig, workers: int) -> None:
    """Raise InputError where batch, splits and workers do not divide: known before there is a pool."""
    if config.batch_size % config.bn_splits or config.batch_size < 2 * config.bn_splits:
        raise InputError(
            f"pretrain.batch_size={config.batch_size} must be a multiple of pretrain.bn_splits={config.bn_splits}, "
            "with at least 2 images a split; change one of them."
        )
    if workers > config.bn_splits:
        raise InputError(
            f"{counted(workers, 'worker')} cannot divide pretrain.bn_splits={config.bn_splits}; use at most "
            f"{config.bn_splits} workers, or more splits (which changes the result)."
        )
