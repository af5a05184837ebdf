"""Trilinear interpolation of volumes whose own gradient nobody asks for, its slope found on the way.

torch's ``grid_sample`` looks every corner up again for the gradient, one element after another, and adds up a gradient
for the image, too. Here the slope of each element is made with its value, by whole tensors: less than half the time.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

MIN_ELEMENTS = 20_000
"""Elements from which on that pays: below, the number of operations counts."""


def can_sample_trilinear(image: Tensor, displacement: Tensor) -> bool:
    """Tell whether an image (b, channels, z, y, x) can be sampled this way and a gradient is needed."""
    return (
        image.ndim == 5
        and torch.is_grad_enabled()
        and displacement.requires_grad
        and not image.requires_grad
        and image.device.type == displacement.device.type == "cpu"
        and image.dtype == displacement.dtype == torch.float32
        and min(image.shape[2:]) > 1
        and prod(image.shape[2:]) >= MIN_ELEMENTS
    )


def sample_trilinear(image: Tensor, displacement: Tensor) -> Tensor:
    """Sample volumes at a displacement (b, 3, z, y, x), in elements, with border padding."""
    found: Tensor = Trilinear.apply(image, displacement)[0]
    return found


class Trilinear(Function):
    """Interpolation with its slope along each axis, which is all that the gradient needs."""

    generate_vmap_rule = True

    @staticmethod
    def forward(image: Tensor, displacement: Tensor) -> tuple[Tensor, Tensor]:
        each = [sample_volume(i, d) for i, d in zip(image, displacement, strict=True)]
        return torch.stack([value for value, _ in each]), torch.stack([slope for _, slope in each])

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: tuple[Tensor, Tensor]) -> None:
        del inputs
        _, slope = output  # (b, channels, 3, z, y, x)
        ctx.mark_non_differentiable(slope)
        ctx.save_for_backward(slope)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, _: Any) -> tuple[None, Tensor]:
        (slope,) = ctx.saved_tensors
        return None, (slope * upstream.unsqueeze(2)).sum(1) if slope.shape[1] > 1 else slope[:, 0] * upstream


def sample_volume(image: Tensor, displacement: Tensor) -> tuple[Tensor, Tensor]:
    """Give the values (channels, z, y, x) of one volume where a displacement leads, and their slopes along each axis.

    At the border and beyond it nothing changes across it, as in torch.
    """
    index, parts, moves = torch.zeros((), dtype=torch.long), list[Tensor](), list[Tensor]()
    for axis, size in enumerate(image.shape[1:]):
        still = torch.arange(size, dtype=displacement.dtype).view(*[-1 if a == axis else 1 for a in range(3)])
        free = displacement[axis] + still
        place = free.clamp(0, size - 1)
        low = place.floor().clamp(max=size - 2)
        index = index * size + low.long()
        parts.append(place - low)
        moves.append(((free > 0) & (free < size - 1)).to(place.dtype))
    lines = [interpolate_corners(channel, index, parts) for channel in image]
    values, slopes = (torch.stack(each) for each in zip(*lines, strict=True))
    return values, slopes.mul_(torch.stack(moves))


def interpolate_corners(image: Tensor, index: Tensor, parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Give the value between the eight corners that begin at an index, so far along each axis, and its slopes."""
    z, y, x = parts
    _, row, width = image.shape
    flat, first = image.flatten(), index.flatten()
    steps = [0, 1, width, width + 1]
    near, right, below, both, *behind = (
        flat.index_select(0, first + step).view_as(index) for step in [*steps, *(row * width + s for s in steps)]
    )
    far, far_right, far_below, far_both = behind
    x0, x1, x2, x3 = right - near, both - below, far_right - far, far_both - far_below
    y0, y1 = torch.addcmul(near, x0, x), torch.addcmul(far, x2, x)
    up0, up1 = torch.addcmul(below, x1, x).sub_(y0), torch.addcmul(far_below, x3, x).sub_(y1)
    front = torch.addcmul(y0, up0, y)
    back = torch.addcmul(y1, up1, y).sub_(front)
    along_x = torch.lerp(torch.lerp(x0, x1, y), torch.lerp(x2, x3, y), z)
    return torch.addcmul(front, back, z), torch.stack([back, torch.lerp(up0, up1, z), along_x])
