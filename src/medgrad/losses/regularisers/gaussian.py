"""Gaussian regulariser: the mean squared difference of a field and its smoothed version."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gaussian:
    """The mean square of what a Gaussian of ``width`` elements (its standard deviation) takes away from the field."""

    width: float = 1.0

    def __call__(self, field: Tensor) -> Tensor:
        return (field - gaussian_smooth(field, self.width)).square().sum(1).mean()


def gaussian_smooth(field: Tensor, width: float) -> Tensor:
    """Smooth (b, channels, *shape) by a Gaussian along each axis; its edge goes on.

    >>> float(gaussian_smooth(torch.ones(1, 1, 6, 6), 2.0).mean().round(decimals=5))
    1.0
    """
    if width <= 0:
        return field
    for axis in range(2, field.ndim):
        matrix = smoothing_matrix(field.shape[axis], width, field.dtype, field.device)
        field = torch.movedim(torch.movedim(field, axis, -1) @ matrix, -1, axis)
    return field


@lru_cache(maxsize=64)
def smoothing_matrix(length: int, width: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Give the matrix of Gaussian smoothing along one axis, with border padding."""
    reach = max(1, round(4 * width))
    steps = torch.arange(-reach, reach + 1, device=device)
    weights = torch.exp(-0.5 * (steps.to(dtype) / width) ** 2)
    at = (torch.arange(length, device=device).unsqueeze(1) + steps).clamp(0, length - 1)
    matrix = torch.zeros(length, length, dtype=dtype, device=device)
    return matrix.scatter_add(1, at, (weights / weights.sum()).expand(length, -1)).T


THIS = Gaussian
