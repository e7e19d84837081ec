"""The learning rate of every step."""

from __future__ import annotations

import math

from pipeline.config import PretrainConfig


def learning_rate(config: PretrainConfig, epoch: int, step: int, steps: int) -> float:
    """Scaled with the batch; linear warm-up, then half a cosine to 0 (Table 2). ``steps``: of an epoch."""
    done = epoch + step / steps
    peak = config.learning_rate * config.batch_size / 256
    if done < config.warmup_epochs:
        return peak * (done + 1 / steps) / config.warmup_epochs
    share = (done - config.warmup_epochs) / max(config.epochs - config.warmup_epochs, 1)
    return peak * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
