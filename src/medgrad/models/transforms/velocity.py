"""A stationary velocity field, whose flow is a diffeomorphic deformation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from ._warp import exponentiate

BASE_ROUGHNESS = 0.001
"""How much the images themselves hold a shift of one element back, about: it keeps the scale of smooth cosines low."""


class VelocityField(nn.Module):
    """A velocity in mm as a sum of cosines along each axis, sampled at knots ``every`` so many elements.

    Its roughness is ``stiffness`` times the mean square of its slope. The weights are scaled so that the roughness is
    nearly the sum of their squares: then a descent that learns curvature takes as many steps whatever the stiffness.
    A shift counts as the longest wave, for it is up to a linear map. Flowing is by ``squarings`` (Arsigny and others
    2006, MICCAI); that of the negative velocity is the inverse.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        spacing: Sequence[float] | None = None,
        count: int = 1,
        knot_spacing: float = 1.5,
        stiffness: float = 0.3,
        squarings: int = 4,
    ) -> None:
        super().__init__()
        n = len(shape)
        self.shape = tuple(shape)
        self.spacing = tuple(spacing or (1.0,) * n)
        self.squarings = squarings
        self.knots = tuple(min(s, max(4, round(s / knot_spacing))) for s in shape)
        mm = [s * e / k for s, e, k in zip(shape, self.spacing, self.knots, strict=True)]
        self.knot_mm: Tensor
        self.register_buffer("knot_mm", torch.tensor(mm).view(1, n, *[1] * n), persistent=False)
        self.waves = [cosine_basis(k, k) for k in self.knots]
        self.slope: Tensor
        self.register_buffer("slope", self.wave_roughness(), persistent=False)
        self.scale: Tensor
        self.share: Tensor
        for name in ("scale", "share"):
            self.register_buffer(name, torch.ones(self.knots), persistent=False)
        self.weights = nn.Parameter(torch.zeros(count, n, *self.knots))
        self.set_stiffness(stiffness)

    def wave_roughness(self) -> Tensor:
        """Give the mean squared slope of each cosine at a root mean square of one mm, averaged over the axes."""
        n = len(self.shape)
        total = torch.zeros(self.knots)
        for axis, (k, s, e) in enumerate(zip(self.knots, self.shape, self.spacing, strict=True)):
            line = (math.pi * torch.arange(k) / (s * e)).square()
            total = total + line.view(*[-1 if a == axis else 1 for a in range(n)])
        total[(0,) * n] = total.flatten()[1:].min()
        return total / n

    @torch.no_grad()
    def set_stiffness(self, stiffness: float) -> None:
        """Set another stiffness; the velocity stays as it is."""
        kept = self.coefficients()
        whole = stiffness * self.slope + BASE_ROUGHNESS / (sum(self.spacing) / len(self.spacing)) ** 2
        self.share = stiffness * self.slope / whole
        self.scale = whole.rsqrt()
        self.start_from(kept)

    def coefficients(self) -> Tensor:
        """Give how much there is of each cosine, in mm (count, dims, *knots)."""
        return self.weights.detach() * self.scale

    @torch.no_grad()
    def start_from(self, coefficients: Tensor) -> None:
        """Start from the cosine coefficients of another field over the same region."""
        both = [slice(0, min(a, b)) for a, b in zip(coefficients.shape[2:], self.knots, strict=True)]
        at = (slice(None), slice(None), *both)
        self.weights.zero_()
        self.weights[at] = coefficients[at] / self.scale[tuple(both)]

    def roughness(self) -> Tensor:
        """Give the roughness penalty."""
        return (self.weights.square() * self.share).sum()

    def flow(
        self, *, inverse: bool = False, knots: Sequence[int] | None = None, squarings: int | None = None
    ) -> Tensor:
        """Give the displacement at the knots (count, dims, *knots) in mm, or its inverse.

        More ``knots`` and ``squarings`` than in training make both more exact.
        """
        waves, mm = self.waves, self.knot_mm
        if knots is not None:
            waves = [cosine_basis(k, n) for k, n in zip(self.knots, knots, strict=True)]
            mm = mm * mm.new_tensor([k / n for k, n in zip(self.knots, knots, strict=True)]).view_as(mm)
        velocity = multiply_axes(self.weights * self.scale, waves) / mm
        return exponentiate(-velocity if inverse else velocity, squarings=squarings or self.squarings) * mm

    def forward(self, inputs: Tensor) -> Tensor:
        """Give the displacement (b, dims, *shape), in elements of a grid of the inputs' shape that covers the same."""
        return self.displacement_at(self.flow(), inputs)

    def displacement_at(self, knots: Tensor, inputs: Tensor) -> Tensor:
        """Interpolate a displacement at the knots, in mm, to the elements of inputs, in elements."""
        shape = inputs.shape[2:]
        there = multiply_axes(knots, [interpolation_matrix(k, s) for k, s in zip(self.knots, shape, strict=True)])
        spacing = [s * e / n for s, e, n in zip(self.shape, self.spacing, shape, strict=True)]
        element = there.new_tensor(spacing).view(1, -1, *[1] * len(shape))
        return (there / element).expand(len(inputs), -1, *shape)


def multiply_axes(values: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Multiply each axis of (b, channels, *shape) by the matrix (old length, new length) that is meant for it."""
    for axis, matrix in enumerate(matrices, 2):
        values = torch.movedim(torch.movedim(values, axis, -1) @ matrix.to(values), -1, axis)
    return values


@lru_cache(maxsize=64)
def cosine_basis(count: int, length: int) -> Tensor:
    """Give the first cosines (count, length) of no slope at the ends of a line, each of root mean square 1."""
    wave = torch.arange(count, dtype=torch.float64).unsqueeze(1)
    place = (torch.arange(length, dtype=torch.float64) + 0.5) / length
    values = torch.cos(math.pi * wave * place) * math.sqrt(2)
    values[0] = 1.0
    return values.float()


@lru_cache(maxsize=64)
def interpolation_matrix(old: int, new: int) -> Tensor:
    """Give the matrix (old, new) of linear interpolation to another number of samples over the same length.

    Beyond the outermost samples it extrapolates linearly.

    >>> interpolation_matrix(2, 4).T.tolist()
    [[1.25, -0.25], [0.75, 0.25], [0.25, 0.75], [-0.25, 1.25]]
    """
    place = (torch.arange(new, dtype=torch.float64) + 0.5) / new * old - 0.5
    left = place.floor().clamp(0, max(old - 2, 0))
    matrix = torch.zeros(old, new, dtype=torch.float64)
    column = torch.arange(new)
    matrix[left.long(), column] = 1.0
    if old > 1:
        matrix[left.long() + 1, column] = place - left
        matrix[left.long(), column] -= place - left
    return matrix.float()


THIS = VelocityField
