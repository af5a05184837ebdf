"""Similarity transform: rotation, translation and one scale."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._linear import Linear, rotations


class Similarity(Linear):
    """A rigid map and the logarithm of one scale: 4 weights in 2D, 7 in 3D."""

    def __init__(self, shape: Sequence[int], *, spacing: Sequence[float] | None = None, count: int = 1) -> None:
        super().__init__(shape, spacing=spacing, count=count)
        self.angles = nn.Parameter(torch.zeros(count, 3 if self.dims == 3 else 1))
        self.size = nn.Parameter(torch.zeros(count, 1))

    def turn(self) -> Tensor:
        return rotations(self.angles * self.per_reach) * (self.size * self.per_reach).exp().unsqueeze(-1)


THIS = Similarity
