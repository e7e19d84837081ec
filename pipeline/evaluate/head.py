"""A small network on feature vectors, with dropout that can stay on: the scorer's model and the learnability map's.

n = samples, D = feature dimensions, C = classes, T = stochastic passes. On the CPU's cores a training takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

OnStep = Callable[[Tensor, Tensor], None]
"""Told after each step: rows (n,) of the training set, and the probabilities (n, C) before the step."""

_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class HeadSettings:
    """How a head is built and trained."""

    hidden: int = 256
    dropout: float = 0.5
    epochs: int = 30
    least_steps: int = 300
    """Small training sets get more epochs, until there are that many steps."""
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4


class Head(nn.Module):
    """(n, D) -> logits (n, C): dropout, a hidden layer where asked for, dropout, a linear layer.

    Dropout is on where a generator is given, whatever ``train()`` says, and draws from that alone.

    Args:
        hidden: units of the hidden layer; 0: none.
    """

    def __init__(self, width: int, classes: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.first = nn.Linear(width, hidden) if hidden else None
        self.last = nn.Linear(hidden or width, classes)

    def forward(self, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Logits (n, C)."""
        values = self._drop(features, generator)
        if self.first is not None:
            values = self._drop(F.relu(self.first(values)), generator)
        return self.last(values)

    def _drop(self, values: Tensor, generator: torch.Generator | None) -> Tensor:
        if generator is None or not self.dropout:
            return values
        kept = torch.rand(values.shape, generator=generator, device=values.device) >= self.dropout
        return values * kept / (1 - self.dropout)


class StandardHead(nn.Module):
    """A head that first centres and scales its features as the training set's are.

    Unit-norm features are small numbers about a common mean, which no learning rate fits.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: Tensor, classes: int, settings: HeadSettings) -> None:
        super().__init__()
        mean = features.mean(0)
        self.register_buffer("mean", mean)
        # One scale for all dimensions, so that their relative sizes stay what the encoder made them.
        self.register_buffer("scale", (features - mean).square().mean().sqrt().clamp_min(1e-6))
        self.head = Head(features.shape[1], classes, settings.hidden, settings.dropout)

    def forward(self, features: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Logits (n, C)."""
        return self.head((features - self.mean) / self.scale, generator)


def fit_head(
    features: Tensor,
    labels: Tensor,
    classes: int,
    seed: int,
    settings: HeadSettings,
    on_step: OnStep | None = None,
    on_epoch: Callable[[], None] | None = None,
) -> StandardHead:
    """Train a head by Adam on (n, D) features and (n,) labels; deterministic on one machine.

    An epoch goes once over every sample, in batches of nearly equal size.
    """
    generator = torch.Generator(features.device).manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = StandardHead(features, classes, settings).to(features.device)
    optimizer = torch.optim.Adam(head.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    steps = -(-len(labels) // settings.batch_size)
    for _ in range(max(settings.epochs, -(-settings.least_steps // steps))):
        for rows in permuted_batches(len(labels), steps, generator):
            logits = head(features[rows], generator)
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(logits, labels[rows]).backward()
            optimizer.step()
            if on_step is not None:
                on_step(rows, logits.detach().softmax(1))
        if on_epoch is not None:
            on_epoch()
    return head


def permuted_batches(n: int, batches: int, generator: torch.Generator) -> Iterator[Tensor]:
    """All rows 0 .. n-1 once, in random order, in batches whose sizes differ by one at most."""
    order = torch.randperm(n, generator=generator, device=generator.device)
    return iter(order.tensor_split(batches))


@torch.inference_mode()
def probabilities(head: nn.Module, features: Tensor) -> Tensor:
    """(n, C), dropout off."""
    return torch.cat([head(part).softmax(1) for part in features.split(_ROWS_AT_ONCE)])


@torch.inference_mode()
def probability_draws(head: nn.Module, features: Tensor, draws: int, seed: int) -> Tensor:
    """(T, n, C): T passes with dropout on (Gal & Ghahramani 2016)."""
    generator = torch.Generator(features.device).manual_seed(seed)
    passes = [[head(part, generator).softmax(1) for part in features.split(_ROWS_AT_ONCE)] for _ in range(draws)]
    return torch.stack([torch.cat(each) for each in passes])
