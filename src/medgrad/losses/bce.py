"""Binary cross-entropy: each class for itself, several may hold at once."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class BCE:
    """Mean over elements and classes; the target has one value from 0 to 1 a class. ``weights`` favour the ones."""

    weights: tuple[float, ...] | None = None

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        weights = None
        if self.weights:
            weights = torch.tensor(self.weights, device=output.device).view(-1, *[1] * (output.ndim - 2))
        return F.binary_cross_entropy_with_logits(output.float(), target.float(), pos_weight=weights)


THIS = BCE
