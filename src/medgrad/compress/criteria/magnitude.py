"""Magnitude: small weights do little, whatever the loss says."""

from __future__ import annotations

from torch import nn

from ...descent.gradients import FullSet, prunable_weights
from ...tasks import Task
from ._criterion import Criterion, Scores


def magnitude() -> Criterion:
    """Score a weight by |w|. It looks at no case. Han et al., NeurIPS 2015.

    Where a norm follows, a layer's weights may all be scaled and the network answers the same, so that sizes tell
    little between layers: compare it within each.
    """

    def criterion(model: nn.Module, task: Task, batches: FullSet) -> Scores:
        del task, batches
        return {name: w.detach().abs() for name, w in prunable_weights(model).items()}

    return criterion


THIS = magnitude
