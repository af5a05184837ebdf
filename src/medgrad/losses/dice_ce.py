"""The sum of Dice loss and cross-entropy."""

from dataclasses import dataclass

from torch import Tensor

from .cross_entropy import CrossEntropy
from .dice import Dice


@dataclass(frozen=True)
class DiceCE:
    """The sum of both. Isensee et al., Nature Methods 2021."""

    batch: bool = False
    smooth: float = 1.0
    weights: tuple[float, ...] | None = None

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        entropy = CrossEntropy(weights=self.weights)(output, target)
        return entropy + Dice(batch=self.batch, smooth=self.smooth)(output, target)


THIS = DiceCE
