"""Adaptive gradient clipping: bound each unit's gradient by a share of its weight norm."""

from __future__ import annotations

import torch
from torch import nn

from ...tasks import Batch, Task
from ._gradients import Gradients
from .plain import plain


def clipped_adaptively(*, share: float = 0.02, least: float = 1e-3, inner: Gradients | None = None) -> Gradients:
    """Shrink the gradient of each unit (a row of a matrix, a kernel of a convolution) to ``share`` of its norm.

    G_i <- G_i * share * max(|W_i|, least) / |G_i| where |G_i| is larger than that. Brock et al., ICML 2021, eq. 3.
    Biases and scales are one unit an element. Networks without normalisation bear higher rates with it.
    """
    make = inner or plain()

    def gradients(model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        terms = make(model, task, batch)
        for p in model.parameters():
            if p.grad is not None:
                bound = share * unit_norms(p.detach()).clamp_min(least)
                p.grad.mul_((bound / unit_norms(p.grad).clamp_min(1e-12)).clamp_max(1.0))
        return terms

    return gradients


def unit_norms(weights: torch.Tensor) -> torch.Tensor:
    """Give the norm of each unit, in a shape that spreads over the weights."""
    if weights.ndim <= 1:
        return weights.abs()
    return torch.linalg.vector_norm(weights, dim=tuple(range(1, weights.ndim)), keepdim=True)


THIS = clipped_adaptively
