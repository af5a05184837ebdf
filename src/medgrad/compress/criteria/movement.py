"""Movement pruning: remove weights that training drives towards zero."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from ...descent.gradients import Everything
from ...errors import SettingError
from ...tasks import Task
from ._criterion import Criterion, Scores, frozen_statistics, gradients, loss_of_part, parts
from ._curvature import norm


def movement(*, passes: int = 1, rate: float = 1e-3) -> Criterion:
    """Score a weight by the sum of -r g w over steps of training. Sanh et al., NeurIPS 2020, eq. 2.

    A copy of the network takes one step down the slope for each batch, ``passes`` times over the set. Each step is
    ``rate`` times as long as the weights, so r = rate * |w| / |g| and one setting serves every network. A step changes
    w by -r g, so the sum is that of w dw: positive where a weight moved away from 0, negative where it moved towards
    it, however large or small it is. Only weights that may be pruned move. The score may be negative.

    It is meant for a network that is made to learn something new; where learning is over, it measures noise.
    """
    if passes < 1 or rate <= 0:
        raise SettingError(f"At least one pass and a rate above 0 are needed, not {(passes, rate)}.")

    def criterion(model: nn.Module, task: Task, batches: Everything) -> Scores:
        copy = deepcopy(model)
        with frozen_statistics(copy) as weights:
            total = {name: torch.zeros_like(w) for name, w in weights.items()}
            for _ in range(passes):
                for part in parts(batches, "batch"):
                    found = gradients(loss_of_part(copy, task, part), weights)
                    size, length = norm(weights), norm(found)
                    if not length:
                        continue
                    step = rate * (size or 1.0) / length
                    with torch.no_grad():
                        for name, w in weights.items():
                            total[name].sub_(found[name] * w, alpha=step)
                            w.sub_(found[name], alpha=step)
        return {name: t.detach() for name, t in total.items()}

    return criterion


THIS = movement
