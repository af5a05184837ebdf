"""Local normalised cross-correlation: the squared correlation of two images in local windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from ._windows import box_sum, weighted_mean


@dataclass(frozen=True)
class LNCC:
    """One minus the squared correlation in a cube of ``width`` elements, averaged over all cubes.

    It holds for images whose brightness differs slowly from place to place, and for inverted contrast. A window in
    which an image hardly varies (its sum of squares below ``min_variance``) counts as unlike.

    With a ``stride``, windows lie about every so many elements along each axis, and are as many whole blocks of these
    wide as come nearest to ``width``: nearly the same measure, at a part of the work on a fine grid.

    Avants and others 2008, Medical Image Analysis 12(1), equation 5. The gradient is written out: it is three more sums
    over windows instead of the graph of fifteen.
    """

    width: int = 9
    min_variance: float = 1e-5
    stride: int = 1

    def __post_init__(self) -> None:
        if self.width < 1 or self.width % 2 == 0:
            raise ValueError(f"A window has a middle, so its width is odd, but it is {self.width}.")
        if not 1 <= self.stride <= self.width:
            raise ValueError(f"Windows of {self.width} lie 1 to {self.width} elements apart, not {self.stride}.")

    def __call__(self, moved: Tensor, fixed: Tensor, weight: Tensor | None = None) -> Tensor:
        squared = LocalCorrelation.apply(moved, fixed, self.width, self.min_variance, self.stride)[0]
        if weight is not None and self.stride > 1:
            weight = block_sum(weight, self.stride)
        return 1 - weighted_mean(squared, weight) if weight is None else weighted_mean(1 - squared, weight)


class LocalCorrelation(Function):
    """The squared correlation about every element, or every block, and what its gradient needs."""

    generate_vmap_rule = True

    @staticmethod
    def forward(moved: Tensor, fixed: Tensor, width: int, least: float, stride: int) -> tuple[Tensor, ...]:
        n = (stride * count_blocks(width, stride)) ** (moved.ndim - 2)
        each = torch.stack([moved, fixed, moved * fixed, moved * moved, fixed * fixed]).flatten(0, 1)
        sums = window_sum(each, width, stride).unflatten(0, (5, len(moved)))
        mean_m, mean_f = sums[0] / n, sums[1] / n
        cross = sums[2] - n * mean_m * mean_f
        vary_m = sums[3] - n * mean_m * mean_m
        vary_f = sums[4] - n * mean_f * mean_f
        slope = cross / (vary_m.clamp_min(least) * vary_f.clamp_min(least))
        return cross * slope, slope, mean_m, mean_f, cross, vary_m, vary_f

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        moved, fixed, ctx.width, ctx.least, ctx.stride = inputs
        _, *rest = output
        ctx.mark_non_differentiable(*rest)
        ctx.save_for_backward(moved, fixed, *rest)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        moved, fixed, slope, mean_m, mean_f, cross, vary_m, vary_f = ctx.saved_tensors
        first = 2 * upstream * slope
        settings = (ctx.width, ctx.least, ctx.stride)
        to_moved = (
            correlation_gradient(first, cross, moved, fixed, (mean_m, mean_f, vary_m), *settings)
            if ctx.needs_input_grad[0]
            else None
        )
        to_fixed = (
            correlation_gradient(first, cross, fixed, moved, (mean_f, mean_m, vary_f), *settings)
            if ctx.needs_input_grad[1]
            else None
        )
        return to_moved, to_fixed, None, None, None


def correlation_gradient(
    first: Tensor,
    cross: Tensor,
    image: Tensor,
    other: Tensor,
    moments: tuple[Tensor, Tensor, Tensor],
    width: int,
    min_variance: float,
    stride: int,
) -> Tensor:
    """Give the gradient at one of both images; ``first`` is that by the cross term.

    With A = 2 cross / (V W) and B = 2 cross^2 / (V^2 W), each where it stands in the sum, the gradient at element j is
    other_j sum(A) - mine_j sum(B) + sum(B mean - A other_mean), the sums over the windows that hold j.
    """
    mean, mean_other, vary = moments
    dims, blocks = image.ndim - 2, count_blocks(width, stride)
    second = torch.where(vary > min_variance, first * cross / vary.clamp_min(min_variance), torch.zeros_like(first))
    shift = second * mean - first * mean_other
    each = torch.stack([first, second, shift]).flatten(0, 1)
    pulled, pushed, shifted = expand_blocks(box_sum(each, blocks, dims), stride, image.shape[2:]).split(len(image))
    return pulled * other - pushed * image + shifted


def count_blocks(width: int, stride: int) -> int:
    """Give the odd number of blocks of ``stride`` elements that comes nearest to a ``width``.

    >>> count_blocks(9, 1), count_blocks(9, 2), count_blocks(9, 4)
    (9, 5, 3)
    """
    return 2 * round((width / stride - 1) / 2) + 1


def window_sum(x: Tensor, width: int, stride: int) -> Tensor:
    """Sum over the window about every block."""
    return box_sum(block_sum(x, stride), count_blocks(width, stride), x.ndim - 2)


def block_sum(x: Tensor, stride: int) -> Tensor:
    """Sum over blocks of ``stride`` elements along each axis; the last ones may be cut off by the edge."""
    if stride == 1:
        return x
    dims = x.ndim - 2
    spare = [-s % stride for s in x.shape[2:]]
    padded = F.pad(x, [p for s in reversed(spare) for p in (0, s)])
    pool = F.avg_pool3d if dims == 3 else F.avg_pool2d
    return pool(padded, stride) * float(stride**dims)


def expand_blocks(x: Tensor, stride: int, shape: torch.Size) -> Tensor:
    """Repeat the values of blocks for their elements."""
    if stride == 1:
        return x
    for axis, length in enumerate(shape, 2):
        x = x.repeat_interleave(stride, dim=axis).narrow(axis, 0, length)
    return x


THIS = LNCC
