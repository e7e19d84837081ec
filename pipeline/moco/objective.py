"""The contrastive loss, and how well each image is told apart (Eqs. 1 and 2).

n = this worker's rows, N = rows of the global batch, D = dimensions, Q = queue size, T = temperatures.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline import device as devices

_NOTHING = -80.0
"""e to this is nothing beside 1 in float32; a little less is below the normal numbers, which are very slow."""


def moco_logits(query: Tensor, key: Tensor, queue: Tensor, temperature: float) -> Tensor:
    """Similarity of each query to its own key (column 0) and to the queue, over the temperature.

    Args:
        query, key: (n, D) unit norm, row by row two views of one image. queue: (Q, D).

    Returns:
        (n, 1 + Q).
    """
    scaled = query / temperature  # before the product: the queue's similarities are 500 times as many
    return torch.cat([(scaled * key).sum(1, keepdim=True), scaled @ queue.T], 1)


def moco_loss(logits: Tensor) -> Tensor:
    """InfoNCE, the cross-entropy of column 0, **summed** over the rows, so that workers' shares add up."""
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.int64), reduction="sum")


@torch.no_grad()
def instance_probability(
    first: Tensor, second: Tensor, ids: Tensor, rows: slice, temperatures: Sequence[float]
) -> Tensor:
    """Probability of telling an image from all others of the global batch (Eqs. 1 and 2).

    For each of an image's two projections: softmax of its similarities to the 2N - 1 others, over the
    temperature, taken at its own positive (SCIENCE.md row 1: the temperature divides inside the
    exponential); then the mean of both. Further draws of the same image in the batch (two repeats
    can meet in one) are left out: an image is not its own negative.

    Args:
        first: (N, D) unit-norm projections of view 1 by the query encoder; second: (N, D) of view 2 by the
            momentum encoder (row 3); of the whole global batch (row 4).
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
