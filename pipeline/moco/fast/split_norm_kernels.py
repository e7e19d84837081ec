"""``split_norm.one_by_one`` for an NVIDIA GPU, all splits in one kernel, in Triton.

torch's own kernels take one split at a time and leave most of a GPU idle; what its compiler makes of the formulas was
slower still (docs/dev/log.md). Maps lie in channels_last, so a split is a plain matrix: p pixels of all its rows by C
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
_MERGED_COLUMNS = 16
"""Of the tile of who merges parts: few, so that a layer of few channels has some programs too."""
_PROGRAMS = 2048
"""What fills a large GPU several times over."""


class SplitNorm(torch.autograd.Function):
    """(n, C, H, W) -> the same. The kernels add up the statistics too. Launching torch's own small kernels for it (some
    1,800 a step) would take as long as all that is left of a layer's arithmetic once its pixels are summed."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, sums: tuple[Tensor, Tensor, Tensor], rows: int, eps: float
    ) -> Tensor:
        """Two passes over the maps, one that writes."""
        maps = maps.contiguous(memory_format=torch.channels_last)
        splits, pixels, channels, parts, each = _division(maps, rows)
        parted = maps.new_empty(2, splits, parts, channels, dtype=torch.float32)
        grid = (splits, parts, triton.cdiv(channels, _COLUMNS))
        _moments[grid](maps, parted[0], parted[1], pixels, channels, each, _ROWS, _COLUMNS)
        means, variances = maps.new_empty(2, splits, channels, dtype=torch.float32)
        blocks = (splits, triton.cdiv(channels, _MERGED_COLUMNS))
        _merge[blocks](*parted, means, variances, pixels, channels, parts, each, _ROWS, _MERGED_COLUMNS)
        normalised = torch.empty_like(maps)
        tiles, unbiased = _tiles(splits, pixels, channels), pixels / max(pixels - 1, 1)
        given = (maps, normalised, means, variances, weight, bias, *sums)
        _normalise[tiles](*given, unbiased, splits, pixels, channels, eps, _ROWS, _COLUMNS)
        ctx.save_for_backward(maps, weight, means, variances)
        ctx.rows, ctx.eps = rows, eps
        return normalised

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Two passes over maps and gradient, one that writes."""
        maps, weight, means, variances = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
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
        return of_maps, of_weight, of_bias, None, None, None


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
def _merge(
    part_means,
    part_squares,
    means,
    variances,
    pixels,
    channels,
    parts,
    each,
    PARTS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Mean and biased variance of a split from those of its parts (Chan et al.): first the mean, then the squares."""
    split = tl.program_id(0)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    known = column < channels
    mean = tl.zeros((COLUMNS,), tl.float32)
    for start in range(0, parts, PARTS):
        part = start + tl.arange(0, PARTS)
        count = tl.minimum(pixels - part * each, each).to(tl.float32)
        inside = (part < parts)[:, None] & known[None, :]
        at = (split * parts + part)[:, None] * channels + column[None, :]
        mean += tl.sum(tl.load(part_means + at, mask=inside, other=0.0) * count[:, None], 0)
    mean /= pixels
    square = tl.zeros((COLUMNS,), tl.float32)
    for start in range(0, parts, PARTS):
        part = start + tl.arange(0, PARTS)
        count = tl.minimum(pixels - part * each, each).to(tl.float32)
        inside = (part < parts)[:, None] & known[None, :]
        at = (split * parts + part)[:, None] * channels + column[None, :]
        off = tl.load(part_means + at, mask=inside, other=0.0) - mean[None, :]
        own = tl.load(part_squares + at, mask=inside, other=0.0)
        square += tl.sum(tl.where(inside, own + off * off * count[:, None], 0.0), 0)
    tl.store(means + split * channels + column, mean, mask=known)
    tl.store(variances + split * channels + column, square / pixels, mask=known)


@triton.jit
def _normalise(
    maps,
    result,
    means,
    variances,
    weights,
    biases,
    mean_sum,
    variance_sum,
    count_sum,
    unbiased,
    splits,
    pixels,
    channels,
    eps,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """A tile of a split; and the first tile of its columns adds the statistics of all splits up."""
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
    if (tl.program_id(0) == 0) & (tl.program_id(1) == 0):
        mean_total = tl.load(mean_sum + column, mask=known, other=0.0)
        variance_total = tl.load(variance_sum + column, mask=known, other=0.0)
        for other in range(splits):
            place = other * channels + column
            mean_total += tl.load(means + place, mask=known, other=0.0)
            variance_total += tl.load(variances + place, mask=known, other=0.0) * unbiased
        tl.store(mean_sum + column, mean_total, mask=known)
        tl.store(variance_sum + column, variance_total, mask=known)
        if tl.program_id(2) == 0:
            tl.store(count_sum, tl.load(count_sum) + splits)


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
