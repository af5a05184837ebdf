"""Movement pruning: remove weights that training drives towards zero."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from ...descent.gradients import FullSet
from ...errors import SettingError
from ...tasks import Task
from ._criterion import Criterion, Scores, batch_loss, frozen_statistics, iterate_batches, weight_gradients
from ._hessian_vector import total_norm


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

    def criterion(model: nn.Module, task: Task, batches: FullSet) -> Scores:
        copy = deepcopy(model)
        with frozen_statistics(copy) as weights:
            total = {name: torch.zeros_like(w) for name, w in weights.items()}
            for _ in range(passes):
                for part in iterate_batches(batches, "batch"):
                    found = weight_gradients(batch_loss(copy, task, part), weights)
                    size, length = total_norm(weights), total_norm(found)
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
