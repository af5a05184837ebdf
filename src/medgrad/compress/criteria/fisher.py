"""Fisher information: the squared gradient times the squared weight."""

from __future__ import annotations

import torch
from torch import nn

from ...descent.gradients import FullSet
from ...tasks import Task
from ._criterion import Criterion, Granularity, Scores, average_gradients, frozen_statistics


def fisher(*, per: Granularity = "sample") -> Criterion:
    """Score a weight by w^2 mean(g^2) / 2, g the gradient of the loss of each ``sample``. Theis et al., 2018, eq. 9.

    The mean of the squares, not the square of the mean. It is the empirical Fisher information, by the true labels,
    and stands for the diagonal of the Hessian near a minimum of a log-likelihood; for other losses it is a measure of
    unrest. Of each ``batch`` it is smaller, by about the size of the batch, and the labels' noise is averaged out.
    """

    def criterion(model: nn.Module, task: Task, batches: FullSet) -> Scores:
        with frozen_statistics(model) as weights:
            (squares,) = average_gradients(model, task, batches, weights, functions=[torch.square], per=per)
            return {name: squares[name] * w.detach().square() / 2 for name, w in weights.items()}

    return criterion


THIS = fisher
