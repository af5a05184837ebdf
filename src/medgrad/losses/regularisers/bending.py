"""Bending energy: the mean square of a field's curvature; a field that is linear costs nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Bending:
    """The squared second differences, mixed ones twice, summed over the components and averaged over the elements.

    Rueckert and others 1999, IEEE TMI 18(8), equation 8. Every axis needs three elements.
    """

    def __call__(self, field: Tensor) -> Tensor:
        axes = range(2, field.ndim)
        total = field.new_zeros(())
        for axis in axes:
            total = total + field.diff(n=2, dim=axis).square().sum(1).mean()
            for other in range(axis + 1, field.ndim):
                total = total + 2 * field.diff(dim=axis).diff(dim=other).square().sum(1).mean()
        return torch.as_tensor(total)


THIS = Bending
