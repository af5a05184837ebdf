"""Normalise the gradient to norm 1."""

from __future__ import annotations

import torch
from torch import nn

from ...tasks import Batch, Task
from ._gradients import Gradients
from .plain import plain


def normalised(*, each: bool = False, inner: Gradients | None = None) -> Gradients:
    """Scale the whole gradient to the norm 1, or with ``each`` that of every tensor; tells the norm that it had.

    A gradient that is nothing stays nothing.
    """
    make = inner or plain()

    def gradients(model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        terms = make(model, task, batch)
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        if not grads:
            return terms
        norms = torch.stack(torch._foreach_norm(grads))
        whole = torch.linalg.vector_norm(norms)
        lengths = norms if each else whole.expand(len(grads))
        torch._foreach_div_(grads, list(lengths.clamp_min(1e-30).unbind()))
        return terms | {"gradient/norm": float(whole)}

    return gradients


THIS = normalised
