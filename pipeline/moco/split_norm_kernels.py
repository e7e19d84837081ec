"""``split_norm.one_by_one`` for an NVIDIA GPU, all splits in one kernel, in Triton.

torch's own kernels take one split at a time and leave most of a GPU idle; what its compiler makes of the formulas was
slower still (docs/log.md). Maps lie in channels_last, so a split is a plain matrix: p pixels of all its rows by C
channels. A kernel's program goes over some rows of one split and a block of its columns; s = splits.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS, _COLUMNS = 64, 64
"""Of the tile that a program works on at a time."""
_PROGRAMS = 2048
"""What fills a large GPU several times over."""


class SplitNorm(torch.autograd.Function):
    """(n, C, H, W) -> the same, and the mean and biased variance of every split, (s, C)."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, rows: int, eps: float) -> tuple[Tensor, ...]:
        """Two passes over the maps, one that writes."""
        maps = maps.contiguous(memory_format=torch.channels_last)
        splits, pixels, channels, parts, each = _division(maps, rows)
        parted = maps.new_empty(2, splits, parts, channels, dtype=torch.float32)
        grid = (splits, parts, triton.cdiv(channels, _COLUMNS))
        _moments[grid](maps, parted[0], parted[1], pixels, channels, each, _ROWS, _COLUMNS)
        means, variances = _merged(parted[0], parted[1], pixels, each)
        normalised = torch.empty_like(maps)
        tiles = _tiles(splits, pixels, channels)
        _normalise[tiles](maps, normalised, means, variances, weight, bias, pixels, channels, eps, _ROWS, _COLUMNS)
        ctx.save_for_backward(maps, weight, means, variances)
        ctx.rows, ctx.eps = rows, eps
        ctx.mark_non_differentiable(means, variances)
        return normalised, means, variances

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Two passes over maps and gradient, one that writes."""
        maps, weight, means, variances = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        splits, pixels, channels, parts, each = _division(maps, ctx.rows)
        parted = maps.new_empty(2, splits, parts, channels, dtype=torch.float32)
        grid = (splits, parts, triton.cdiv(channels, _COLUMNS))
        shape = (pixels, channels)
        _sums[grid](maps, gradient, parted[0], parted[1], means, variances, *shape, each, ctx.eps, _ROWS, _COLUMNS)
        sums = parted.sum(2)
        of_maps = torch.empty_like(maps)
        tiles = _tiles(splits, pixels, channels)
        _differentiate[tiles](
            maps, gradient, of_maps, means, variances, weight, sums[0], sums[1], *shape, ctx.eps, _ROWS, _COLUMNS
        )
        of_bias, of_weight = sums.sum(1)
        return of_maps, of_weight, of_bias, None, None


def _division(maps: Tensor, rows: int) -> tuple[int, int, int, int, int]:
    """Splits, pixels of one, channels; parts of a split's pixels for the sums, and how many pixels a part has."""
    n, channels, height, width = maps.shape
    splits, pixels = n // rows, rows * height * width
    wanted = max(1, _PROGRAMS // (splits * triton.cdiv(channels, _COLUMNS)))
    each = triton.cdiv(triton.cdiv(pixels, wanted), _ROWS) * _ROWS
    return splits, pixels, channels, triton.cdiv(pixels, each), each


def _tiles(splits: int, pixels: int, channels: int) -> tuple[int, int, int]:
    """The grid of the kernels that write; the pixels first, as CUDA allows 65,535 of the other two."""
    return triton.cdiv(pixels, _ROWS), splits, triton.cdiv(channels, _COLUMNS)


def _merged(means: Tensor, squares: Tensor, pixels: int, each: int) -> tuple[Tensor, Tensor]:
    """Mean and variance of a whole from those of its parts (Chan et al.). (s, parts, C) -> (s, C)."""
    parts = means.shape[1]
    counts = torch.full((parts, 1), float(each), device=means.device)
    counts[-1] = pixels - (parts - 1) * each
    mean = (means * counts).sum(1) / pixels
    spread = squares + counts * (means - mean[:, None]).square()
    return mean, spread.sum(1) / pixels


@triton.jit
def _moments(maps, means, squares, pixels, channels, each, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Mean, and sum of the squared distances from it, of a part of a split: tile after tile (Welford, Chan et al.)."""
    split, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    begin = part * each
    end = tl.minimum(begin + each, pixels)
    mean = tl.zeros((COLUMNS,), tl.float32)
    square = tl.zeros((COLUMNS,), tl.float32)
    count = 0.0
    for start in range(begin, end, ROWS):
        row = start + tl.arange(0, ROWS)
        inside = (row < end)[:, None] & (column < channels)[None, :]
        at = (split * pixels + row)[:, None] * channels + column[None, :]
        value = tl.load(maps + at, mask=inside, other=0.0).to(tl.float32)
        new = tl.minimum(end - start, ROWS).to(tl.float32)
        own = tl.sum(value, 0) / new
        apart = tl.where(inside, value - own[None, :], 0.0)
        off = own - mean
        square += tl.sum(apart * apart, 0) + off * off * (count * new / (count + new))
        mean += off * (new / (count + new))
        count += new
    to = (split * tl.num_programs(1) + part) * channels + column
    tl.store(means + to, mean, mask=column < channels)
    tl.store(squares + to, square, mask=column < channels)


@triton.jit
def _normalise(
    maps, result, means, variances, weights, biases, pixels, channels, eps, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    split = tl.program_id(1).to(tl.int64)
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    known = column < channels
    mean = tl.load(means + split * channels + column, mask=known, other=0.0)
    variance = tl.load(variances + split * channels + column, mask=known, other=1.0)
    scale = tl.load(weights + column, mask=known, other=0.0) * tl.rsqrt(variance + eps)
    bias = tl.load(biases + column, mask=known, other=0.0)
    inside = (row < pixels)[:, None] & known[None, :]
    at = (split * pixels + row)[:, None] * channels + column[None, :]
    value = tl.load(maps + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(result + at, (value - mean[None, :]) * scale[None, :] + bias[None, :], mask=inside)


@triton.jit
def _sums(
    maps,
    gradients,
    totals,
    products,
    means,
    variances,
    pixels,
    channels,
    each,
    eps,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Sums of the gradient, and of the gradient times the normalised map, over a part of a split."""
    split, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    known = column < channels
    mean = tl.load(means + split * channels + column, mask=known, other=0.0)
    inverse = tl.rsqrt(tl.load(variances + split * channels + column, mask=known, other=1.0) + eps)
    begin = part * each
    end = tl.minimum(begin + each, pixels)
    total = tl.zeros((COLUMNS,), tl.float32)
    product = tl.zeros((COLUMNS,), tl.float32)
    for start in range(begin, end, ROWS):
        row = start + tl.arange(0, ROWS)
        inside = (row < end)[:, None] & known[None, :]
        at = (split * pixels + row)[:, None] * channels + column[None, :]
        gradient = tl.load(gradients + at, mask=inside, other=0.0).to(tl.float32)
        normal = (tl.load(maps + at, mask=inside, other=0.0).to(tl.float32) - mean[None, :]) * inverse[None, :]
        total += tl.sum(gradient, 0)
        product += tl.sum(gradient * normal, 0)
    to = (split * tl.num_programs(1) + part) * channels + column
    tl.store(totals + to, total, mask=known)
    tl.store(products + to, product, mask=known)


@triton.jit
def _differentiate(
    maps,
    gradients,
    result,
    means,
    variances,
    weights,
    totals,
    products,
    pixels,
    channels,
    eps,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    split = tl.program_id(1).to(tl.int64)
    column = tl.program_id(2) * COLUMNS + tl.arange(0, COLUMNS)
    known = column < channels
    place = split * channels + column
    mean = tl.load(means + place, mask=known, other=0.0)
    inverse = tl.rsqrt(tl.load(variances + place, mask=known, other=1.0) + eps)
    scale = tl.load(weights + column, mask=known, other=0.0) * inverse
    total = tl.load(totals + place, mask=known, other=0.0) / pixels
    product = tl.load(products + place, mask=known, other=0.0) / pixels
    inside = (row < pixels)[:, None] & known[None, :]
    at = (split * pixels + row)[:, None] * channels + column[None, :]
    gradient = tl.load(gradients + at, mask=inside, other=0.0).to(tl.float32)
    normal = (tl.load(maps + at, mask=inside, other=0.0).to(tl.float32) - mean[None, :]) * inverse[None, :]
    found = (gradient - total[None, :] - normal * product[None, :]) * scale[None, :]
    tl.store(result + at, found, mask=inside)
