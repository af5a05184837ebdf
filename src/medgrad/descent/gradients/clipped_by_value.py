"""Clip gradients by value."""

from __future__ import annotations

from torch import nn

from ...tasks import Batch, Task
from ._gradients import Gradients
from .plain import plain


def clipped_by_value(*, value: float = 0.1, inner: Gradients | None = None) -> Gradients:
    """Cut every element of the gradient to [-value, value], which also turns it; tells the share that was cut.

    This is no pruning, which some texts call it: pruning zeroes weights, this bounds how fast they move.
    """
    make = inner or plain()

    def gradients(model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        terms = make(model, task, batch)
        cut, count = 0.0, 0
        for p in model.parameters():
            if p.grad is not None:
                cut += float((p.grad.abs() > value).sum())
                count += p.grad.numel()
                p.grad.clamp_(-value, value)
        return terms | {"gradient/cut": cut / max(1, count)}

    return gradients


THIS = clipped_by_value
