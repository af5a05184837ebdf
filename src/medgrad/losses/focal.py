"""Focal loss: cross-entropy with less weight on well-classified elements."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ._loss import IGNORED, is_labels


@dataclass(frozen=True)
class Focal:
    """``gamma`` is how much easy elements fade (0 is cross-entropy). Lin et al., ICCV 2017, equation 4."""

    gamma: float = 2.0

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        output = output.float()
        if is_labels(output, target):
            entropy = F.cross_entropy(output, target, ignore_index=IGNORED, reduction="none")
            counted = (target != IGNORED).float()
        else:
            entropy = F.binary_cross_entropy_with_logits(output, target.float(), reduction="none")
            counted = entropy.new_ones(entropy.shape)
        wrong_probability = 1 - (-entropy).exp()
        weighed = (wrong_probability.pow(self.gamma) * entropy * counted).flatten(1).sum(1) if output.ndim > 2 else None
        if weighed is None:
            return (wrong_probability.pow(self.gamma) * entropy * counted).sum() / counted.sum().clamp_min(1)
        return (weighed / counted.flatten(1).sum(1).clamp_min(1)).mean()


THIS = Focal
