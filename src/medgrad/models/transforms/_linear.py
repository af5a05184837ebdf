"""Shared by the linear transforms: a matrix about the centre, in mm, as a displacement in elements."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

TERMS, SMALL = 8, 0.5
"""So many terms of the exponential series leave less than float32 can tell of a matrix whose norm is at most this."""


class LinearTransform(nn.Module):
    """A linear map about the middle of a grid of ``shape`` and ``spacing``.

    Weights of the same size move the edge of the grid equally far: a weight of 1 by about one element.
    """

    def __init__(self, shape: Sequence[int], *, spacing: Sequence[float] | None = None, count: int = 1) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.dims = len(self.shape)
        self.spacing = tuple(spacing or (1.0,) * self.dims)
        self.mean_spacing = sum(self.spacing) / self.dims
        self.weight_scale = 2 * sum(self.spacing) / sum(n * s for n, s in zip(self.shape, self.spacing, strict=True))
        self.shift = nn.Parameter(torch.zeros(count, self.dims))

    @abstractmethod
    def linear_matrices(self) -> Tensor:
        """Give the linear matrices (count, dims, dims) about the centre, in mm along the axes."""

    def squared_log_stretch(self) -> Tensor:
        """Give the sum of squares of the logarithms by which lengths change along the principal axes."""
        turn = self.linear_matrices()
        return torch.linalg.eigvalsh(turn.mT @ turn).clamp_min(1e-6).log().square().sum() / 4

    def matrices(self) -> Tensor:
        """Give the maps as (count, dims + 1, dims + 1), in mm along the axes from the middle of the grid."""
        upper = torch.cat([self.linear_matrices(), (self.shift * self.mean_spacing).unsqueeze(-1)], dim=-1)
        last = upper.new_zeros(len(upper), 1, self.dims + 1)
        last[..., -1] = 1.0
        return torch.cat([upper, last], dim=1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Give the displacement (b, dims, *shape), in elements of a grid of the inputs' shape that covers the same."""
        return self.displacement_on(inputs.shape[2:]).expand(len(inputs), -1, *inputs.shape[2:])

    def displacement_on(self, shape: Sequence[int]) -> Tensor:
        """Give the displacement (count, dims, *shape) in elements of a grid that covers the same."""
        return self.affine_displacement(*self.to_elements(shape), shape)

    def affine_displacement(self, matrix: Tensor, shift: Tensor, shape: Sequence[int]) -> Tensor:
        """Give the displacement (count, dims, *shape) of a matrix (minus the identity) and a shift."""
        n = self.dims
        moved = shift.view(-1, n, *[1] * n)
        for axis, length in enumerate(shape):
            line = torch.arange(length, device=moved.device, dtype=moved.dtype) - (length - 1) / 2
            along = line.view(*[-1 if a == axis else 1 for a in range(n)])
            moved = moved + matrix[:, :, axis].view(-1, n, *[1] * n) * along
        return moved

    def compose_after(self, displacement: Tensor) -> Tensor:
        """Give the displacement (count, dims, *shape) of another one, in elements, followed by this map."""
        matrix, shift = self.to_elements(displacement.shape[2:])
        carried = torch.einsum("bij,bj...->bi...", matrix, displacement)
        return displacement + carried + self.affine_displacement(matrix, shift, displacement.shape[2:])

    def to_elements(self, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Give the matrix minus the identity and the shift, in elements of a grid of this shape."""
        n = self.dims
        spacing = [s * a / b for s, a, b in zip(self.spacing, self.shape, shape, strict=True)]
        space = self.shift.new_tensor(spacing)
        whole = self.matrices()
        matrix = whole[:, :n, :n] * space / space.unsqueeze(-1) - torch.eye(n, device=space.device, dtype=space.dtype)
        return matrix, whole[:, :n, n] / space


def rotation_matrices(vectors: Tensor) -> Tensor:
    """Turn (count, 1) angles or (count, 3) rotation vectors, in radians, into matrices.

    >>> rotation_matrices(torch.tensor([[torch.pi / 2]])).round().abs().tolist()
    [[[0.0, 1.0], [1.0, 0.0]]]
    """
    if vectors.shape[1] == 1:
        pairs = [(0, 1)]
        dims = 2
    else:
        pairs = [(1, 2), (2, 0), (0, 1)]
        dims = 3
    basis = vectors.new_zeros(len(pairs), dims, dims)
    for k, (i, j) in enumerate(pairs):
        basis[k, i, j], basis[k, j, i] = -1.0, 1.0
    return matrix_exponential(torch.einsum("ck,kij->cij", vectors, basis))


def matrix_exponential(matrices: Tensor) -> Tensor:
    """Give the matrix exponential of small matrices (count, n, n), by scaling and squaring of a Taylor series.

    It takes fewer operations than torch's own, with its gradient, of matrices so small.

    >>> matrix_exponential(torch.tensor([[[0.0, 1.0], [0.0, 0.0]]]))
    tensor([[[1., 1.],
             [0., 1.]]])
    """
    norm = float(matrices.detach().norm(dim=(1, 2)).max())
    squarings = max(0, math.ceil(math.log2(norm / SMALL))) if norm > SMALL and math.isfinite(norm) else 0
    small = matrices / 2**squarings
    one = torch.eye(matrices.shape[-1], device=matrices.device, dtype=matrices.dtype).expand_as(matrices)
    found = one
    for term in range(TERMS, 0, -1):
        found = torch.baddbmm(one, small, found, alpha=1 / term)
    for _ in range(squarings):
        found = found @ found
    return found
