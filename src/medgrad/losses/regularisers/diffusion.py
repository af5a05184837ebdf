"""Diffusion regulariser: the mean squared gradient of a field."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Diffusion:
    """The squared difference between neighbours, summed over the components and averaged over the axes and elements.

    >>> float(Diffusion()(torch.ones(1, 2, 5, 5)))
    0.0
    """

    def __call__(self, field: Tensor) -> Tensor:
        slopes = [field.diff(dim=axis).square().sum(1).mean() for axis in range(2, field.ndim)]
        return torch.stack(slopes).mean()


THIS = Diffusion
