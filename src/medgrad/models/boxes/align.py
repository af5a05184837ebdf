"""ROI Align: resample the features of a region to a fixed size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ._window import AxisWeights, sum_in_windows


def roi_align(features: Tensor, boxes: Tensor, batch: Tensor, *, size: Sequence[int], samples: int = 2) -> Tensor:
    """Give the features (b, c, *shape) within boxes (k, 2 * dims) of the images ``batch`` (k,), as (k, c, *size).

    Boxes count in elements of the features, where element i has its middle at i. Each box is cut into ``size`` bins;
    a bin is the mean of ``samples`` points along each axis, evenly spread in it, between which the features are taken
    to be linear (He 2017); beyond the middle of an outermost element, they go on as they are there. Gradients reach
    the features only.

    A bin is a weighted sum of elements, which takes a small part of the time and the memory of sampling each point.
    Where gradients are wanted and boxes are small, what lies in them is taken once and weighted axis by axis.
    """
    (_, c, *shape), k = features.shape, len(boxes)
    if not k:
        return features.flatten()[:0].reshape(0, c, *size)
    boxes = boxes.detach().to(torch.promote_types(features.dtype, torch.float32))
    low, high = boxes.chunk(2, dim=1)
    axes = [
        _axis_weights(low[:, axis], high[:, axis], length=length, bins=bins, samples=samples)
        for axis, (length, bins) in enumerate(zip(shape, size, strict=True))
    ]
    table = features.movedim(1, -1).reshape(-1, c)  # (elements of all images, c)
    learns = torch.is_grad_enabled() and table.requires_grad and not torch.compiler.is_compiling()
    parts = math.prod(bins * 2 * samples for bins in size)
    how = sum_in_windows if learns and 2 * math.prod(axis.span for axis in axes) <= parts else _sum_parts
    return how(table, axes, batch.long()).transpose(1, 2).reshape(k, c, *size)


def _axis_weights(low: Tensor, high: Tensor, *, length: int, bins: int, samples: int) -> AxisWeights:
    """Say of which elements the bins between two edges (k,) are made, along one axis."""
    steps = (torch.arange(bins * samples, device=low.device, dtype=low.dtype) + 0.5) / (bins * samples)
    points = (low[:, None] + steps * (high - low)[:, None]).clamp(0, length - 1).unflatten(1, (bins, samples))
    below = points.floor()
    part = (points - below) / samples
    place = torch.cat([below, (below + 1).clamp_max(length - 1)], -1).long()
    return AxisWeights(length, place, torch.cat([1 / samples - part, part], -1))


def _sum_parts(table: Tensor, axes: Sequence[AxisWeights], batch: Tensor) -> Tensor:
    """Add up the parts of every bin, (k, bins of all axes, c)."""
    rows, weights = batch[:, None, None], axes[0].weight.new_ones(len(batch), 1, 1)  # (k, bins, parts)
    for axis in axes:
        rows = _combine_pairwise(rows * axis.length, axis.place, torch.add)
        weights = _combine_pairwise(weights, axis.weight, torch.mul)
    flat = weights.flatten(0, 1).to(table.dtype)
    return F.embedding_bag(rows.flatten(0, 1), table, per_sample_weights=flat, mode="sum").unflatten(0, rows.shape[:2])


def _combine_pairwise(known: Tensor, new: Tensor, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Combine (k, p, q) with (k, r, s) to (k, p * r, q * s), each with each."""
    every = combine(known[:, :, None, :, None], new[:, None, :, None, :])
    return every.flatten(3, 4).flatten(1, 2)
