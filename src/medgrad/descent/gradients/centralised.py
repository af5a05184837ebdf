"""Gradient centralisation: subtract the mean of each unit's gradient."""

from __future__ import annotations

from torch import nn

from ...tasks import Batch, Task
from ._gradients import Gradients
from .plain import plain


def centralised(*, inner: Gradients | None = None) -> Gradients:
    """Take the mean out of each unit's gradient, for weights with more than one axis. Yong et al., ECCV 2020, eq. 1.

    The weights of a unit then keep their mean, which smooths the way down and costs next to nothing.
    """
    make = inner or plain()

    def gradients(model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        terms = make(model, task, batch)
        for p in model.parameters():
            if p.grad is not None and p.ndim > 1:
                p.grad.sub_(p.grad.mean(tuple(range(1, p.ndim)), keepdim=True))
        return terms

    return gradients


THIS = centralised
