"""Gaussian gradient noise."""

from __future__ import annotations

import torch
from torch import nn

from ...tasks import Batch, Task
from ._gradients import Gradients
from .plain import plain


def noisy(*, share: float = 0.01, inner: Gradients | None = None) -> Gradients:
    """Add Gaussian noise to the gradient; its norm is ``share`` of the gradient's own, for each tensor.

    So it fades as the slope does, and one setting serves every network. It is drawn from torch's generator, which the
    loop seeds at every step. This protects nobody's privacy: for that, each patient's gradient must be clipped first.
    """
    make = inner or plain()

    def gradients(model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        terms = make(model, task, batch)
        for p in model.parameters():
            if p.grad is not None:
                size = torch.linalg.vector_norm(p.grad) / max(1, p.grad.numel()) ** 0.5
                p.grad.add_(torch.randn_like(p.grad) * size, alpha=share)
        return terms

    return gradients


THIS = noisy
