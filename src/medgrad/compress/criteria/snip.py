"""SNIP: connection sensitivity before training."""

from __future__ import annotations

import torch
from torch import nn

from ...descent.gradients import FullSet
from ...errors import SettingError
from ...tasks import Task
from ._criterion import Criterion, Scores, average_gradients, frozen_statistics, identity


def snip() -> Criterion:
    """Score a weight by |g w| / sum |g w| at the beginning of training. Lee et al., ICLR 2019, eq. 6.

    That is ``taylor`` of the first order as a share of the whole, on the whole set instead of one batch, and by the
    statistics of each batch where there is batch norm, for those of a network that has not learned are none.
    A network whose last layer begins at 0 feels nothing at all: let it take a few steps first.
    """

    def criterion(model: nn.Module, task: Task, batches: FullSet) -> Scores:
        with frozen_statistics(model, norm_statistics="batch") as weights:
            (slope,) = average_gradients(model, task, batches, weights, functions=[identity], per="batch")
            scores = {name: (slope[name] * w.detach()).abs() for name, w in weights.items()}
        total = torch.stack([s.sum() for s in scores.values()]).sum()
        if not total > 0:
            raise SettingError(
                "Gradient times weight is 0 everywhere, as where the last layer is still 0. Train a few steps first."
            )
        return {name: s / total for name, s in scores.items()}

    return criterion


THIS = snip
