"""Affine transform, without reflections."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._linear import LinearTransform, matrix_exponential


class Affine(LinearTransform):
    """The matrix exponential of any matrix, and a shift: 6 weights in 2D, 12 in 3D. It can always be undone."""

    def __init__(self, shape: Sequence[int], *, spacing: Sequence[float] | None = None, count: int = 1) -> None:
        super().__init__(shape, spacing=spacing, count=count)
        self.logarithm = nn.Parameter(torch.zeros(count, self.dims, self.dims))

    @torch.no_grad()
    def start_from(self, other: Affine) -> None:
        """Begin with the map of another one over the same place, which counts in other elements."""
        self.shift.copy_(other.shift * other.mean_spacing / self.mean_spacing)
        self.logarithm.copy_(other.logarithm * other.weight_scale / self.weight_scale)

    def linear_matrices(self) -> Tensor:
        return matrix_exponential(self.logarithm * self.weight_scale)


THIS = Affine
