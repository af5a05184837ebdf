"""SNIP: connection sensitivity before training."""

from __future__ import annotations

import torch
from torch import nn

from ...descent.gradients import Everything
from ...errors import SettingError
from ...tasks import Task
from ._criterion import Criterion, Scores, frozen_statistics, itself, means


def snip() -> Criterion:
    """Score a weight by |g w| / sum |g w| at the beginning of training. Lee et al., ICLR 2019, eq. 6.

    That is ``taylor`` of the first order as a share of the whole, on the whole set instead of one batch, and by the
    statistics of each batch where there is batch norm, for those of a network that has not learned are none.
    A network whose last layer begins at 0 feels nothing at all: let it take a few steps first.
    """

    def criterion(model: nn.Module, task: Task, batches: Everything) -> Scores:
        with frozen_statistics(model, norms="batch") as weights:
            (slope,) = means(model, task, batches, weights, of=[itself], each="batch")
            scores = {name: (slope[name] * w.detach()).abs() for name, w in weights.items()}
        total = torch.stack([s.sum() for s in scores.values()]).sum()
        if not total > 0:
            raise SettingError(
                "Gradient times weight is 0 everywhere, as where the last layer is still 0. Train a few steps first."
            )
        return {name: s / total for name, s in scores.items()}

    return criterion


THIS = snip
