"""Tversky loss: an overlap with separate weights for false positives and false negatives."""

from dataclasses import dataclass

from torch import Tensor

from ._loss import soft_predictions


@dataclass(frozen=True)
class Tversky:
    """Tversky loss: ``alpha`` weights false positives, ``beta`` false negatives; 0.5 and 0.5 is Dice.

    ``gamma`` below 1 favours hard classes. Salehi et al., MLMI 2017; Abraham and Khan, ISBI 2019, for gamma.
    """

    alpha: float = 0.3
    beta: float = 0.7
    gamma: float = 1.0
    smooth: float = 1.0

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        soft, truth = soft_predictions(output, target)
        axes = tuple(range(2, soft.ndim))
        both = (soft * truth).sum(axes)
        alarms, misses = soft.sum(axes) - both, truth.sum(axes) - both
        index = (both + self.smooth) / (both + self.alpha * alarms + self.beta * misses + self.smooth)
        return (1 - index).clamp_min(0).pow(self.gamma).mean()


THIS = Tversky
