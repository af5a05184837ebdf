"""Clip gradients by their global norm."""

from torch import nn
from torch.nn.utils import clip_grad_norm_

from ...tasks import Batch, Task
from ._gradients import Gradients
from .plain import plain


def clipped(*, norm: float = 5.0, inner: Gradients | None = None) -> Gradients:
    """Shrink the whole gradient so that its norm is at most ``norm``; tells the norm that it had."""
    make = inner or plain()

    def gradients(model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        terms = make(model, task, batch)
        norm_before = clip_grad_norm_(model.parameters(), norm, foreach=True)
        return terms | {"gradient/norm": float(norm_before)}

    return gradients


THIS = clipped
