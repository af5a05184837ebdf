"""Random scores, the baseline for every criterion."""

from __future__ import annotations

import torch
from torch import nn

from ...descent.gradients import FullSet, prunable_weights
from ...tasks import Task
from ._criterion import Criterion, Scores


def random(*, seed: int = 0, widest_layers_first: bool = False) -> Criterion:
    """Score every weight by chance, evenly from 0 to 1.

    With ``widest_layers_first``, weights go by chance from the layers that have the most left, until all have as many:
    a harder control, since much of what a criterion gains is only that it spares small layers. The score is then 1 / r
    for the weight that is the r-th to be kept in its layer.
    """

    def criterion(model: nn.Module, task: Task, batches: FullSet) -> Scores:
        del task, batches
        chance = torch.Generator().manual_seed(seed)
        scores = {}
        for name, w in prunable_weights(model).items():
            if widest_layers_first:
                drawn = 1 / (1 + torch.randperm(w.numel(), generator=chance).view(w.shape).double())
            else:
                drawn = torch.rand(w.shape, generator=chance, dtype=torch.float64)
            scores[name] = drawn.to(w.device, w.dtype)
        return scores

    return criterion


THIS = random
