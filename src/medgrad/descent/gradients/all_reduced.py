"""All-reduce: average the gradients over all processes."""

import torch
import torch.distributed as dist
from torch import nn

from ...tasks import Batch, Task
from ._gradients import Gradients
from .plain import plain


def all_reduced(*, inner: Gradients | None = None) -> Gradients:
    """Give the mean gradient over all processes; alone, the gradient itself. All parts must be of one size.

    One message carries all gradients, so that the wait is paid once a step.
    """
    make = inner or plain()

    def gradients(model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        terms = make(model, task, batch)
        if not dist.is_initialized() or dist.get_world_size() == 1:
            return terms
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        values = torch.tensor(list(terms.values()), device=grads[0].device)
        flat = torch.cat([values, *[g.reshape(-1) for g in grads]])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        at = len(values)
        for g in grads:
            g.copy_(flat[at : at + g.numel()].view(g.shape))
            at += g.numel()
        return dict(zip(terms, flat[: len(values)].tolist(), strict=True))

    return gradients


THIS = all_reduced
