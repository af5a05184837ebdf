"""Cross-entropy: the negative log likelihood of the true class."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ._loss import IGNORED


@dataclass(frozen=True)
class CrossEntropy:
    """Mean over the elements of a sample that count, then over the samples.

    ``weights`` has one factor a class; ``smoothing`` spreads some certainty.
    """

    weights: tuple[float, ...] | None = None
    smoothing: float = 0.0

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        weights = torch.tensor(self.weights, dtype=torch.float32, device=output.device) if self.weights else None
        each = F.cross_entropy(
            output.float(), target, weights, ignore_index=IGNORED, reduction="none", label_smoothing=self.smoothing
        )
        counted = (target != IGNORED).float()
        if weights is not None:
            counted = counted * weights[target.clamp_min(0)]
        if target.ndim == 1:
            return each.sum() / counted.sum().clamp_min(1e-6)
        return (each.flatten(1).sum(1) / counted.flatten(1).sum(1).clamp_min(1e-6)).mean()


THIS = CrossEntropy
