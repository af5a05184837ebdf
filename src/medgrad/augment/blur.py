"""Gaussian blur."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ._augment import RandomDraw, Targets, apply_to_rows
from ._degradation import Degradation

MAX_REACH = 4


@dataclass(frozen=True)
class Blur(Degradation):
    """``p`` of the samples are blurred, with a standard deviation from ``min_std`` to ``max_std`` elements."""

    p: float = 0.15
    min_std: float = 0.4
    max_std: float = 1.0

    def draw(self, rng: np.random.Generator, shape: Sequence[int]) -> RandomDraw:
        del shape
        is_applied, width = rng.random() < self.p, rng.uniform(self.min_std, self.max_std)
        return {"width": np.float32(width if is_applied else 0)}

    def apply(
        self, inputs: Tensor, targets: Targets, drawn: Mapping[str, Tensor], spatial_kinds: Mapping[str, str]
    ) -> tuple[Tensor, Targets]:
        del spatial_kinds
        return apply_to_rows(drawn["width"] > 0, inputs, lambda x, rows: blur_samples(x, drawn["width"][rows])), targets


def blur_samples(x: Tensor, std: Tensor) -> Tensor:
    """Blur each sample (b, channels, *shape) by its own width, the edges repeated."""
    reach = min(MAX_REACH, max(1, int(torch.ceil(3 * std.max()))))
    offsets = torch.arange(-reach, reach + 1, device=x.device)
    kernel = torch.exp(-0.5 * (offsets / std.unsqueeze(1)) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    for axis in range(2, x.ndim):
        padding = [0, 0] * (x.ndim - 1 - axis) + [reach, reach] + [0, 0] * (axis - 2)
        wide = F.pad(x, padding, mode="replicate")
        x = convolve_axis(wide, kernel, axis, x.shape[axis])
    return x


def convolve_axis(padded: Tensor, kernel: Tensor, axis: int, size: int) -> Tensor:
    """Convolve along one axis, with one kernel a sample."""
    weights = kernel.view(*kernel.shape, *[1] * (padded.ndim - 1))
    total = padded.narrow(axis, 0, size) * weights[:, 0]
    for k in range(1, kernel.shape[1]):
        total = total + padded.narrow(axis, k, size) * weights[:, k]
    return total


THIS = Blur
