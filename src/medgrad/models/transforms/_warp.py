"""Displacement fields (b, dims, *shape), in elements: warp, exponentiate, invert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ._trilinear import can_sample_trilinear, sample_trilinear

Padding = Literal["zeros", "border"]


def sampling_grid(displacement: Tensor) -> Tensor:
    """Turn a displacement into the sampling grid of grid_sample: (b, *shape, dims), -1 to 1, the last axis first."""
    shape = displacement.shape[2:]
    return torch.movedim(displacement.flip(1), 1, -1) / half_extents(shape, displacement) + identity_grid(
        shape, displacement
    )


def half_extents(shape: Sequence[int], like: Tensor) -> Tensor:
    """Give half the steps from the first element to the last along each axis, the last axis first."""
    return like.new_tensor([max(s - 1, 1) / 2 for s in reversed(shape)])


def identity_grid(shape: Sequence[int], like: Tensor) -> Tensor:
    """Give the identity sampling grid (1, *shape, dims)."""
    n = len(shape)
    lines = [
        torch.linspace(-1, 1, s, device=like.device, dtype=like.dtype) if s > 1 else like.new_zeros(1) for s in shape
    ]
    whole = [line.view(*[-1 if a == axis else 1 for a in range(n)]).expand(*shape) for axis, line in enumerate(lines)]
    return torch.stack(whole[::-1], dim=-1).unsqueeze(0)


def element_coordinates(shape: Sequence[int], like: Tensor) -> Tensor:
    """Give the place of each element, counted in elements: (1, dims, *shape)."""
    lines = [torch.arange(s, device=like.device, dtype=like.dtype) for s in shape]
    return torch.stack(torch.meshgrid(*lines, indexing="ij")).unsqueeze(0)


def warp(image: Tensor, displacement: Tensor, *, padding: Padding = "border") -> Tensor:
    """Look an image (b, channels, *shape) up where the displacement leads; between elements it is interpolated.

    >>> ramp = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 2, 4)
    >>> warp(ramp, torch.tensor([0.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 2, 4))[0, 0, 0].tolist()
    [1.0, 2.0, 3.0, 3.0]
    """
    if padding == "border" and can_sample_trilinear(image, displacement):
        return sample_trilinear(image, displacement)
    return F.grid_sample(image, sampling_grid(displacement), align_corners=True, padding_mode=padding)


def exponentiate(velocity: Tensor, *, squarings: int = 6) -> Tensor:
    """Integrate a stationary velocity field over one unit of time: a diffeomorphic displacement.

    Scaling and squaring (Arsigny and others 2006, MICCAI). The flow of the negative velocity is the inverse.
    """
    nowhere, half = identity_grid(velocity.shape[2:], velocity), half_extents(velocity.shape[2:], velocity)
    way = torch.movedim(velocity.flip(1), 1, -1) / (half * 2**squarings)  # (b, *shape, dims)
    for _ in range(squarings):
        onward = F.grid_sample(torch.movedim(way, -1, 1), way + nowhere, align_corners=True, padding_mode="border")
        way = way + torch.movedim(onward, 1, -1)
    return torch.movedim(way * half, -1, 1).flip(1)


def invert(displacement: Tensor, *, rounds: int = 30) -> Tensor:
    """Invert a displacement by fixed-point iteration; it converges where the displacement changes slowly."""
    back = -displacement
    for _ in range(rounds):
        back = -warp(displacement, back)
    return back


def resize_displacement(displacement: Tensor, shape: Sequence[int]) -> Tensor:
    """Resample a displacement to another shape over the same corners, in the new elements."""
    old = displacement.shape[2:]
    if tuple(old) == tuple(shape):
        return displacement
    n = len(shape)
    factor = [(new - 1) / max(was - 1, 1) for was, new in zip(old, shape, strict=True)]
    mode = "trilinear" if n == 3 else "bilinear"
    larger = F.interpolate(displacement, size=tuple(shape), mode=mode, align_corners=True)
    return larger * displacement.new_tensor(factor).view(1, n, *[1] * n)


def jacobian_determinants(displacement: Tensor) -> Tensor:
    """Give the Jacobian determinant of the transform at each element (b, *shape)."""
    n = displacement.shape[1]
    slopes = torch.stack(torch.gradient(displacement, dim=list(range(2, n + 2))), dim=-1)  # (b, dims, *shape, axes)
    matrix = torch.movedim(slopes, 1, -2) + torch.eye(n, device=displacement.device, dtype=displacement.dtype)
    return torch.linalg.det(matrix)
