"""Sums over a window about every element."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

MATRIX_LENGTH = 64
"""Elements along an axis up to which it is summed by a product."""


def box_sum(x: Tensor, width: int, dims: int) -> Tensor:
    """Sum over a cube of an odd ``width`` about every element of the last ``dims`` axes; outside there is 0.

    Each axis is summed by doubling: windows of 1, 2, 4, 8 elements, of which those in the binary digits of the width
    are put together. That takes four additions for a width of 9, and loses no digits as running sums do. Along a short
    axis one product with a matrix of ones about the diagonal takes less time than these.
    """
    for axis in range(x.ndim - dims, x.ndim):
        if x.shape[axis] <= MATRIX_LENGTH:
            ones = band_matrix(x.shape[axis], width, x.device, x.dtype)
            x = torch.movedim(torch.movedim(x, axis, -1) @ ones, -1, axis)
        else:
            x = line_sum(x, width, axis)
    return x


@lru_cache(maxsize=64)
def band_matrix(length: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Give a matrix (length, length) of ones where two places are in one window."""
    with torch.inference_mode(False):  # who keeps it may learn later
        places = torch.arange(length, device=device)
        return ((places - places.unsqueeze(1)).abs() <= width // 2).to(dtype)


def line_sum(x: Tensor, width: int, axis: int) -> Tensor:
    """Sum over ``width`` neighbours along one axis.

    >>> line_sum(torch.tensor([1.0, 2.0, 4.0, 8.0]), 3, 0).tolist()
    [3.0, 7.0, 14.0, 12.0]
    """
    length = x.shape[axis]
    window = F.pad(x, [0, 0] * (x.ndim - 1 - axis) + [width // 2, width // 2])
    total: Tensor | None = None
    taken, size = 0, 1
    while size <= width:
        if width & size:
            piece = window.narrow(axis, taken, length)
            total = piece if total is None else total + piece
            taken += size
        if 2 * size <= width:
            kept = window.shape[axis] - size
            window = window.narrow(axis, 0, kept) + window.narrow(axis, size, kept)
        size *= 2
    assert total is not None  # a width is at least 1
    return total


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Give the mean over everything, each sample's by its own weights; a sample that has none gives 0."""
    if weight is None:
        return values.mean()
    weight = weight.expand_as(values)
    each = (values * weight).flatten(1).sum(1) / weight.flatten(1).sum(1).clamp_min(1e-6)
    return torch.mean(each)
