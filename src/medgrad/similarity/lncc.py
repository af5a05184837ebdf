"""Local normalised cross-correlation: how well one image predicts the other by a straight line, window by window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from ._windows import box_sum, weighted_mean


@dataclass(frozen=True)
class LNCC:
    """One minus the squared correlation in a cube of ``width`` elements, averaged over all cubes.

    It holds for images whose brightness differs slowly from place to place, and for inverted contrast. A window in
    which an image hardly varies (its sum of squares below ``least``) counts as unlike.

    Avants and others 2008, Medical Image Analysis 12(1), equation 5. The gradient is written out: it is three more sums
    over windows instead of the graph of fifteen.
    """

    width: int = 9
    least: float = 1e-5

    def __post_init__(self) -> None:
        if self.width < 1 or self.width % 2 == 0:
            raise ValueError(f"A window has a middle, so its width is odd, but it is {self.width}.")

    def __call__(self, moved: Tensor, fixed: Tensor, weight: Tensor | None = None) -> Tensor:
        squared = Correlation.apply(moved, fixed, self.width, self.least)[0]
        return 1 - weighted_mean(squared, weight) if weight is None else weighted_mean(1 - squared, weight)


class Correlation(Function):
    """The squared correlation about every element, and what its gradient needs."""

    generate_vmap_rule = True

    @staticmethod
    def forward(moved: Tensor, fixed: Tensor, width: int, least: float) -> tuple[Tensor, ...]:
        n, dims = width ** (moved.ndim - 2), moved.ndim - 2
        mean_m, mean_f = box_sum(moved, width, dims) / n, box_sum(fixed, width, dims) / n
        cross = box_sum(moved * fixed, width, dims).sub_(n * mean_m * mean_f)
        vary_m = box_sum(moved * moved, width, dims).sub_(n * mean_m * mean_m)
        vary_f = box_sum(fixed * fixed, width, dims).sub_(n * mean_f * mean_f)
        slope = cross / (vary_m.clamp_min(least) * vary_f.clamp_min(least))
        return cross * slope, slope, mean_m, mean_f, cross, vary_m, vary_f

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        moved, fixed, ctx.width, ctx.least = inputs
        _, *rest = output
        ctx.mark_non_differentiable(*rest)
        ctx.save_for_backward(moved, fixed, *rest)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        moved, fixed, slope, mean_m, mean_f, cross, vary_m, vary_f = ctx.saved_tensors
        first = 2 * upstream * slope
        settings = (ctx.width, ctx.least)
        to_moved = (
            one_side(first, cross, moved, fixed, (mean_m, mean_f, vary_m), *settings)
            if ctx.needs_input_grad[0]
            else None
        )
        to_fixed = (
            one_side(first, cross, fixed, moved, (mean_f, mean_m, vary_f), *settings)
            if ctx.needs_input_grad[1]
            else None
        )
        return to_moved, to_fixed, None, None


def one_side(
    first: Tensor,
    cross: Tensor,
    mine: Tensor,
    other: Tensor,
    about: tuple[Tensor, Tensor, Tensor],
    width: int,
    least: float,
) -> Tensor:
    """Give the gradient at one of both images; ``first`` is that by the cross term.

    With A = 2 cross / (V W) and B = 2 cross^2 / (V^2 W), each where it stands in the sum, the gradient at element j is
    other_j sum(A) - mine_j sum(B) + sum(B mean - A other_mean), the sums over the windows that hold j.
    """
    mean, mean_other, vary = about
    dims = mine.ndim - 2
    second = torch.where(vary > least, first * cross / vary.clamp_min(least), torch.zeros_like(first))
    shift = second * mean - first * mean_other
    pulled = box_sum(first, width, dims) * other
    return pulled - box_sum(second, width, dims) * mine + box_sum(shift, width, dims)


THIS = LNCC
