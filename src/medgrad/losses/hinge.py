"""Hinge loss: the distance to a margin of 1, and 0 beyond it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ._loss import is_labels, one_hot, valid_mask


@dataclass(frozen=True)
class Hinge:
    """Mean of ``max(0, 1 + the best wrong output - the right one)`` over a sample's elements, then over the samples.

    Of two classes whose outputs are ``-s / 2`` and ``s / 2`` this is ``max(0, 1 - sign * s)``, the loss of the support
    vector machine. Crammer and Singer, JMLR 2, 2001, equation 2. Against a value a class, each class is for itself.
    """

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        output = output.float()
        if not is_labels(output, target):
            return (1 - (2 * target.float() - 1) * output).clamp_min(0).mean()
        right = one_hot(target, output.shape[1])  # (b, k, *shape)
        best_wrong = torch.where(right > 0, -torch.inf, output).amax(1)
        counted = valid_mask(target).squeeze(1)
        each = (1 + best_wrong - (output * right).sum(1)).clamp_min(0) * counted
        if target.ndim == 1:
            return each.sum() / counted.sum().clamp_min(1)
        return (each.flatten(1).sum(1) / counted.flatten(1).sum(1).clamp_min(1)).mean()


THIS = Hinge
