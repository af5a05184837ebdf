"""Top-k sparsification: only the largest gradients are applied."""

from __future__ import annotations

import torch
from torch import nn

from ...tasks import Batch, Task
from ._gradients import Gradients
from .plain import plain


def top_k(*, share: float = 0.1, inner: Gradients | None = None) -> Gradients:
    """Zero the gradient but for the ``share`` of largest magnitude within each tensor, at least one element.

    Within each tensor, not over all, since layers differ in scale. Aji and Heafield, EMNLP 2017, without their residue.
    """
    make = inner or plain()

    def gradients(model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        terms = make(model, task, batch)
        for p in model.parameters():
            if p.grad is not None:
                keep = max(1, round(share * p.grad.numel()))
                sizes = p.grad.abs().flatten()
                bound = torch.kthvalue(sizes, sizes.numel() - keep + 1).values
                p.grad.mul_(p.grad.abs() >= bound)
        return terms

    return gradients


THIS = top_k
