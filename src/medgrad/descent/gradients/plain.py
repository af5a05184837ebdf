"""Plain back-propagation."""

import torch
from torch import nn

from ...tasks import Batch, Task, run_network
from ._gradients import Gradients


def plain() -> Gradients:
    """Give the gradient of the batch's loss; a batch without samples has the gradient 0 and no terms."""

    def gradients(model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        if not batch.size:
            for p in model.parameters():
                p.grad = torch.zeros_like(p)
            return {}
        terms = task.loss(run_network(model, batch.inputs), batch.target)
        torch.stack([t.float() for t in terms.values()]).sum().backward()
        return {name: float(term.detach()) for name, term in terms.items()}

    return gradients


THIS = plain
