"""Gaussian blur."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ._augment import Drawn, Targets, only

REACH = 4


@dataclass(frozen=True)
class Blur:
    """``share`` of the samples are blurred, with a standard deviation from ``least`` to ``most`` elements."""

    share: float = 0.15
    least: float = 0.4
    most: float = 1.0

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> Drawn:
        del shape
        on, width = rng.random() < self.share, rng.uniform(self.least, self.most)
        return {"width": np.float32(width if on else 0)}

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], moves: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del moves
        return only(drawn["width"] > 0, inputs, lambda x, rows: blurred(x, drawn["width"][rows])), targets


def blurred(x: Tensor, width: Tensor) -> Tensor:
    """Blur each sample (b, channels, *shape) by its own width, the edges repeated."""
    reach = min(REACH, max(1, int(torch.ceil(3 * width.max()))))
    offsets = torch.arange(-reach, reach + 1, device=x.device)
    kernel = torch.exp(-0.5 * (offsets / width.unsqueeze(1)) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    for axis in range(2, x.ndim):
        padding = [0, 0] * (x.ndim - 1 - axis) + [reach, reach] + [0, 0] * (axis - 2)
        wide = F.pad(x, padding, mode="replicate")
        x = sum_of_shifts(wide, kernel, axis, x.shape[axis])
    return x


def sum_of_shifts(wide: Tensor, kernel: Tensor, axis: int, size: int) -> Tensor:
    """Convolve along one axis, with one kernel a sample."""
    weights = kernel.view(*kernel.shape, *[1] * (wide.ndim - 1))
    total = wide.narrow(axis, 0, size) * weights[:, 0]
    for k in range(1, kernel.shape[1]):
        total = total + wide.narrow(axis, k, size) * weights[:, k]
    return total


THIS = Blur
