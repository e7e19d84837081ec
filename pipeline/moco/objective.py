"""The contrastive loss, and the probability of telling each image from the others (Eqs. 1 and 2).

n = this worker's rows, N = rows of the global batch, D = dimensions, Q = queue size, T = temperatures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipeline import device as devices

KEYS_AT_ONCE = {"cpu": 1_024, "cuda": 16_384}
"""Of the queue, by kind of device; what is held of (n, Q) at a time."""
# On a CPU the similarities to 1,024 keys stay in its cache. On a GPU all its processors must have work: the product
# that sums keys has n x D / 128^2 tiles of output (32 at n = 4,096, D = 128, for the 132 processors of an H100), and
# only where a block is many keys long can it be divided along these as well. The similarities then pass through memory,
# 256 MiB a block at n = 4,096. Predicted, not measured: row ``loss`` of speed/gpu.py is for that.
_NOTHING = -80.0
"""e to this is nothing beside 1 in float32; a little less is below the normal numbers, which are very slow on a CPU."""


def moco_loss(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """InfoNCE: cross-entropy of each query's own key among it and the queue's, similarities over the temperature.

    Args:
        query, key: (n, D) unit norm, row by row two views of one image. queue: (Q, D). Only the query has a gradient.

    Returns:
        The loss **summed** over the rows, so that workers' shares add up; and how many queries are correct (top-1):
        no key of the queue is nearer than the own one.
    """
    loss, correct = _InfoNCE.apply(query, key, queue, temperature)
    return loss, correct


class _InfoNCE(torch.autograd.Function):
    """The loss and its gradient in one pass over the queue, which is all that a batch of (n, Q) similarities takes.

    The gradient by a query is (the mean of the keys by their softmax - the own key) / temperature. That mean is summed
    over blocks of keys, beside the softmax's own sum. Both are relative to the largest similarity so far. So nothing
    overflows, and no more than a block is held.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        scaled = query / temperature  # before the product: the queue's similarities are 500 times as many
        positive = (scaled * key).sum(1)
        largest, total, weighted_keys = positive, torch.ones_like(positive), key.clone()
        for block in queue.split(KEYS_AT_ONCE[query.device.type]):
            weights, largest, shrink, total = _take_in(scaled @ block.T, largest, total)
            weighted_keys.mul_(shrink[:, None]).addmm_(weights, block)
        ctx.save_for_backward((weighted_keys / total[:, None] - key) / temperature)
        return (total.log() + largest - positive).sum(), (largest == positive).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
        (by_query,) = ctx.saved_tensors
        return gradient * by_query, None, None, None


@devices.fused
def _take_in(similarity: Tensor, largest: Tensor, total: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of a block (n, m): e to each (in place), the largest so far, the factor for what was summed, the new sum."""
    now = torch.maximum(largest, similarity.amax(1))
    weights = similarity.sub_(now[:, None]).clamp_min_(_NOTHING).exp_()
    shrink = (largest - now).exp()
    return weights, now, shrink, total * shrink + weights.sum(1)


@torch.no_grad()
def instance_probability(
    first: Tensor, second: Tensor, ids: Tensor, rows: slice, temperatures: Sequence[float]
) -> Tensor:
    """Probability of telling an image from all others of the global batch (Eqs. 1 and 2).

    For each of an image's two projections: softmax of its similarities to the 2N - 1 others, over the
    temperature, taken at its own positive (docs/method.md, decision 1: the temperature divides inside the
    exponential); then the mean of both. Further draws of the same image in the batch (two repeats
    can meet in one) are left out: an image is not its own negative.

    Args:
        first: (N, D) unit-norm projections of view 1 by the query encoder; second: (N, D) of view 2 by the
            momentum encoder; of the whole global batch (docs/method.md, decisions 3 and 4).
        ids: (N,) sample ids.
        rows: the part of the batch to compute, n rows.

    Returns:
        (n, T) float64: at a temperature of 0.001 a similarity that is 0.1 behind gives e**-100, which
        float32 rounds to 0, and images that are all 0 could not be ordered.
    """
    same = ids[rows, None] == ids
    own = torch.arange(len(ids), device=ids.device)[rows, None]
    probability = first.new_zeros(len(own), len(temperatures), dtype=torch.float64)
    for anchor, other in ((first, second), (second, first)):
        to_same_view = (anchor[rows].float() @ anchor.float().T).masked_fill_(same, -torch.inf)
        to_other_view = anchor[rows].float() @ other.float().T
        positive = to_other_view.gather(1, own)
        to_other_view.masked_fill_(same, -torch.inf).scatter_(1, own, positive)
        # logsumexp, with what all temperatures share done once: how far each similarity is behind the largest.
        similarity = torch.cat([to_other_view, to_same_view], 1)
        largest = similarity.max(1, keepdim=True).values
        behind, positive = similarity.sub_(largest), positive - largest
        log_totals = _log_totals(behind, tuple(temperatures))
        probability += (
            torch.exp((positive / devices.constant(tuple(temperatures), ids.device) - log_totals).double()) / 2
        )
    return probability


@devices.fused
def _log_totals(behind: Tensor, temperatures: tuple[float, ...]) -> Tensor:
    """log of the sum of e to (n, M) over each temperature, (n, T); nothing of ``behind`` is above 0."""
    totals = [(behind / each).clamp_min_(_NOTHING).exp_().sum(1) for each in temperatures]
    return torch.stack(totals, 1).log()
