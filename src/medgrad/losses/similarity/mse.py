"""Mean squared difference: for images whose numbers mean the same."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ._windows import weighted_mean


@dataclass(frozen=True)
class MSE:
    """The mean square of what is left between both images.

    >>> import torch
    >>> float(MSE()(torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)))
    1.0
    """

    def __call__(self, moved: Tensor, fixed: Tensor, weight: Tensor | None = None) -> Tensor:
        return weighted_mean((moved - fixed) ** 2, weight)


THIS = MSE
