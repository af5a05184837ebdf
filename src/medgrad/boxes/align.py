"""The features of a region, brought to one size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def region_align(features: Tensor, boxes: Tensor, batch: Tensor, *, size: Sequence[int], samples: int = 2) -> Tensor:
    """Give the features (b, c, *shape) within boxes (k, 2 * dims) of the images ``batch`` (k,), as (k, c, *size).

    Boxes count in elements of the features, where element i has its middle at i. Each box is cut into ``size`` bins;
    a bin is the mean of ``samples`` points along each axis, evenly spread in it, between which the features are taken
    to be linear (He 2017); beyond the middle of an outermost element, they go on as they are there. Gradients reach
    the features only.

    A bin is one weighted sum of rows of the (elements, channels) table, which takes a small part of the time and the
    memory of sampling each point.
    """
    (_, c, *shape), k = features.shape, len(boxes)
    if not k:
        return features.flatten()[:0].reshape(0, c, *size)
    boxes = boxes.detach().to(torch.promote_types(features.dtype, torch.float32))
    rows, weights = batch.long()[:, None, None], boxes.new_ones(k, 1, 1)  # (k, bins, parts)
    for axis, (length, bins) in enumerate(zip(shape, size, strict=True)):
        place, weight = _along(boxes[:, axis], boxes[:, len(shape) + axis], length=length, bins=bins, samples=samples)
        rows = _crossed(rows * length, place, torch.add)
        weights = _crossed(weights, weight, torch.mul)
    table = features.movedim(1, -1).reshape(-1, c)
    found = F.embedding_bag(
        rows.flatten(0, 1), table, per_sample_weights=weights.flatten(0, 1).to(table.dtype), mode="sum"
    )  # (k * bins, c)
    return found.reshape(k, math.prod(size), c).transpose(1, 2).reshape(k, c, *size)


def _along(low: Tensor, high: Tensor, *, length: int, bins: int, samples: int) -> tuple[Tensor, Tensor]:
    """Give the elements along one axis that make each bin, and their weights, both (k, bins, 2 * samples)."""
    steps = (torch.arange(bins * samples, device=low.device, dtype=low.dtype) + 0.5) / (bins * samples)
    points = (low[:, None] + steps * (high - low)[:, None]).clamp(0, length - 1).unflatten(1, (bins, samples))
    below = points.floor()
    part = (points - below) / samples
    first = below.long()
    return torch.cat([first, (first + 1).clamp_max(length - 1)], -1), torch.cat([1 / samples - part, part], -1)


def _crossed(known: Tensor, new: Tensor, combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Combine (k, p, q) with (k, r, s) to (k, p * r, q * s), each with each."""
    every = combine(known[:, :, None, :, None], new[:, None, :, None, :])
    return every.flatten(3, 4).flatten(1, 2)
