"""Mean absolute error."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from ._loss import is_labels, soft_predictions


@dataclass(frozen=True)
class L1:
    """The mean of what is missing; against labels, of the probabilities, background left out."""

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        if is_labels(output, target):
            soft, truth = soft_predictions(output, target)
            return F.l1_loss(soft, truth)
        return F.l1_loss(output.float(), target.float())


THIS = L1
