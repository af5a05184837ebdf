"""Dice loss: one minus the soft Dice overlap of prediction and truth."""

from dataclasses import dataclass

from torch import Tensor

from ._loss import soft_predictions


@dataclass(frozen=True)
class Dice:
    """Mean over classes (background left out) and samples; with ``batch``, the overlap of the whole batch together.

    ``smooth`` is added above and below, so an absent class that nobody claims costs nothing.
    Milletari et al., 3DV 2016.
    """

    batch: bool = False
    smooth: float = 1.0

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        soft, truth = soft_predictions(output, target)
        axes = (0, *range(2, soft.ndim)) if self.batch else tuple(range(2, soft.ndim))
        both = (soft * truth).sum(axes)
        each = soft.sum(axes) + truth.sum(axes)
        return 1 - ((2 * both + self.smooth) / (each + self.smooth)).mean()


THIS = Dice
