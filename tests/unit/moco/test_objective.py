"""Loss, gradient and confidence against slow loops written from the paper; on a GPU too, where there is one.

A machine with a GPU and neither boto3 nor Ray runs them with ``pytest --noconftest``.
"""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from pipeline.moco.objective import KEYS_AT_ONCE, _take_in, instance_probability, moco_loss

on_every_device = pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
)


def _unit(rows: int, dimensions: int = 16, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, dimensions, generator=generator, dtype=torch.float64), dim=1)


def test_loss_by_the_papers_loop_with_gradient() -> None:
    query, key, queue = _unit(5, seed=1).requires_grad_(), _unit(5, seed=2), _unit(7, seed=3)
    ours, _ = moco_loss(query, key, queue, 0.2)
    (our_gradient,) = torch.autograd.grad(ours, query)
    theirs = torch.zeros((), dtype=torch.float64)
    for i in range(5):
        positive = torch.exp(query[i] @ key[i] / 0.2)
        negatives = sum(torch.exp(query[i] @ queue[j] / 0.2) for j in range(7))
        theirs = theirs - torch.log(positive / (positive + negatives))
    (their_gradient,) = torch.autograd.grad(theirs, query)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(our_gradient, their_gradient)


@on_every_device
@pytest.mark.parametrize("temperature", [0.2, 0.01, 0.001])
@pytest.mark.parametrize(("blocks", "more"), [(0, 1), (1, 0), (2, 3)])
def test_loss_of_many_keys_by_torchs_cross_entropy(blocks: int, more: int, temperature: float, device: str) -> None:
    """In float32, block of keys by block, where one softmax over all takes the logits as they are; that in float64."""
    queued = blocks * KEYS_AT_ONCE[device] + more
    query, queue = _unit(9, seed=1).float(), _unit(queued, seed=3).float()
    key = F.normalize(query + 0.25 * _unit(9, seed=2).float() * torch.arange(9)[:, None], dim=1)
    there = query.to(device).requires_grad_()
    loss, correct = moco_loss(there, key.to(device), queue.to(device), temperature)
    (gradient,) = torch.autograd.grad(3 * loss, there)
    exact = query.double().requires_grad_()
    logits = torch.cat([(exact * key).sum(1, keepdim=True), exact @ queue.double().T], 1) / temperature
    expected = F.cross_entropy(logits, torch.zeros(9, dtype=torch.int64), reduction="sum")
    (expected_gradient,) = torch.autograd.grad(3 * expected, exact)
    torch.testing.assert_close(loss.cpu().double(), expected, rtol=1e-5, atol=1e-5 / temperature)
    torch.testing.assert_close(gradient.cpu().double(), expected_gradient, rtol=1e-4, atol=1e-5 / temperature**2)
    assert correct.cpu() == (logits.argmax(1) == 0).sum() and (queued == 1 or 0 < correct < 9)


def test_no_weight_of_a_key_is_below_the_normal_numbers() -> None:
    """They take a processor many times as long, and beside 1 are nothing either way."""
    similarity, one = torch.tensor([[5.0, 4.0, -85.0, -90.0, -2000.0]]), torch.ones(1)
    expected = similarity.double().sub(5).exp()
    weights, largest, shrink, total = _take_in(similarity, torch.tensor([3.0]), one)
    assert (weights >= torch.finfo(torch.float32).tiny).all()
    torch.testing.assert_close(weights.double(), expected, rtol=1e-6, atol=1e-34)
    torch.testing.assert_close(total.double(), math.exp(-2) + expected.sum(1))
    assert largest == 5 and shrink.item() == pytest.approx(math.exp(-2))


def _probability_by_the_paper(first: torch.Tensor, second: torch.Tensor, ids: list[int], n: int, tau: float) -> float:
    """Eqs. 1 and 2 with 2N interleaved projections; positives are neighbours. Other draws of the image are left out."""
    z = [row for pair in zip(first.tolist(), second.tolist(), strict=True) for row in pair]
    owner = [i for i in ids for _ in range(2)]

    def sim(a: int, b: int) -> float:
        return sum(x * y for x, y in zip(z[a], z[b], strict=True))

    def one_way(anchor: int, positive: int) -> float:
        others = [b for b in range(len(z)) if b != anchor and (b == positive or owner[b] != owner[anchor])]
        largest = max(sim(anchor, b) for b in others)
        total = sum(math.exp((sim(anchor, b) - largest) / tau) for b in others)
        return math.exp((sim(anchor, positive) - largest) / tau) / total

    return (one_way(2 * n, 2 * n + 1) + one_way(2 * n + 1, 2 * n)) / 2


@on_every_device
@pytest.mark.parametrize("ids", [[0, 1, 2, 3, 4, 5], [4, 1, 4, 3, 1, 9]])
def test_confidence_by_the_papers_loop(ids: list[int], device: str) -> None:
    first, second = _unit(6, seed=4).float(), _unit(6, seed=5).float()
    second = F.normalize(second + 2 * first, dim=1)
    temperatures = (0.2, 0.05, 0.01, 0.001)
    there = first.to(device), second.to(device), torch.tensor(ids, device=device)
    ours = instance_probability(*there, slice(0, 6), temperatures)
    for n in range(6):
        for column, tau in enumerate(temperatures):
            expected = _probability_by_the_paper(first, second, ids, n, tau)
            assert ours[n, column].item() == pytest.approx(expected, abs=2e-4 if tau < 0.01 else 2e-6)


@on_every_device
@pytest.mark.parametrize("rows", [64, 500])
def test_confidence_of_a_batch_by_torchs_softmax(rows: int, device: str) -> None:
    """The logarithm, so that those of 1e-100 count too; float64 holds 2N x 2N similarities at once."""
    first, second = _unit(rows, seed=8), _unit(rows, seed=9)
    second = F.normalize(second + first * torch.linspace(0, 2, rows)[:, None], dim=1)
    ids, temperatures = torch.arange(rows) * 7 % (rows - 5), (0.2, 0.05, 0.01, 0.001)
    both, owners = torch.cat([first, second]).float().double(), torch.cat([ids, ids])
    positive = torch.arange(2 * rows).roll(rows)
    left_out = (owners[:, None] == owners).scatter_(1, positive[:, None], value=False)
    similarity = (both @ both.T).masked_fill_(left_out, -torch.inf)
    at_own = torch.stack([(similarity / tau).softmax(1).gather(1, positive[:, None])[:, 0] for tau in temperatures], 1)
    there = first.float().to(device), second.float().to(device), ids.to(device)
    ours = instance_probability(*there, slice(0, rows), temperatures)
    expected = at_own.unflatten(0, (2, rows)).mean(0)
    torch.testing.assert_close(ours.cpu().log(), expected.log(), rtol=1e-5, atol=2e-3)


def test_parts_of_the_batch_give_what_the_whole_gives() -> None:
    first, second, ids = _unit(8, seed=6).float(), _unit(8, seed=7).float(), torch.tensor([0, 1, 2, 0, 3, 4, 5, 1])
    whole = instance_probability(first, second, ids, slice(0, 8), (0.05,))
    parts = [
        instance_probability(first, second, ids, rows, (0.05,)) for rows in (slice(0, 3), slice(3, 4), slice(4, 8))
    ]
    torch.testing.assert_close(torch.cat(parts), whole)


def test_hard_images_keep_an_order_at_the_authors_temperature() -> None:
    """Similarities 0.2 and 0.3 behind, at 0.001: e**-200 and e**-300, which are different and not 0."""
    first = torch.eye(4)
    second = torch.eye(4).roll(1, 0) * torch.tensor([[1.0], [0.98], [1.0], [0.95]])
    second = F.normalize(second + 0.7 * torch.eye(4), dim=1)
    hard = instance_probability(first, second, torch.arange(4), slice(0, 4), (0.001,))
    assert (hard > 0).all() and len(hard.unique()) > 1 and (hard < 1e-45).any()


def test_what_confidence_means_at_its_ends() -> None:
    same = _unit(1).float().expand(4, -1)
    alike = instance_probability(same, same, torch.arange(4), slice(0, 4), (0.05,))
    torch.testing.assert_close(
        alike, torch.full((4, 1), 1 / 7, dtype=torch.float64)
    )  # no better than chance among the 2N - 1 others
    apart = torch.eye(4)
    told = instance_probability(apart, apart, torch.arange(4), slice(0, 4), (0.05,))
    assert (told > 0.999).all()
