"""Rigid transform: rotation and translation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._linear import LinearTransform, rotation_matrices


class Rigid(LinearTransform):
    """A rotation vector about the middle, and a shift: 3 weights in 2D, 6 in 3D."""

    def __init__(self, shape: Sequence[int], *, spacing: Sequence[float] | None = None, count: int = 1) -> None:
        super().__init__(shape, spacing=spacing, count=count)
        self.angles = nn.Parameter(torch.zeros(count, 3 if self.dims == 3 else 1))

    def linear_matrices(self) -> Tensor:
        return rotation_matrices(self.angles * self.weight_scale)


THIS = Rigid
