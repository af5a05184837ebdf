"""Similarity transform: rotation, translation and one scale."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._linear import LinearTransform, rotation_matrices


class Similarity(LinearTransform):
    """A rigid map and the logarithm of one scale: 4 weights in 2D, 7 in 3D."""

    def __init__(self, shape: Sequence[int], *, spacing: Sequence[float] | None = None, count: int = 1) -> None:
        super().__init__(shape, spacing=spacing, count=count)
        self.angles = nn.Parameter(torch.zeros(count, 3 if self.dims == 3 else 1))
        self.size = nn.Parameter(torch.zeros(count, 1))

    def linear_matrices(self) -> Tensor:
        return rotation_matrices(self.angles * self.weight_scale) * (self.size * self.weight_scale).exp().unsqueeze(-1)


THIS = Similarity
