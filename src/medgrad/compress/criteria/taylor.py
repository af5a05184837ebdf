"""Taylor expansion: the change of the loss when a weight is set to zero, from gradient times weight."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ...descent.gradients import FullSet
from ...errors import SettingError
from ...tasks import Task
from ._criterion import Criterion, Scores, average_gradients, frozen_statistics, identity
from ._hessian_vector import hessian_vector_product


def taylor(
    *,
    order: int = 1,
    curvature: Literal["fisher", "hessian"] = "fisher",
    probes: int = 8,
    exact: bool = True,
    seed: int = 0,
) -> Criterion:
    """Score a weight by |L(w = 0) - L(w)| to first or second order, g the gradient of the mean loss over the set.

    Order 1: |g w|. Molchanov et al., CVPR 2019, eq. 7, ranks by its square, which is the same order.
    Order 2: |-g w + h w^2 / 2|, h the diagonal of the Hessian: where g is 0 it is the saliency of LeCun et al.,
    Optimal Brain Damage, 1990, eq. 5. ``fisher`` takes the mean squared gradient of each sample for h, as costly as the
    first order; it is never negative. ``hessian`` estimates the diagonal as the mean of z * (H z) over so many
    ``probes`` z of random signs (Bekas et al., 2007), and needs two passes each; ``exact`` false does with layers
    that cannot be differentiated twice.
    """
    if order not in (1, 2) or curvature not in ("fisher", "hessian"):
        raise SettingError(f"The order is 1 or 2 and the curvature 'fisher' or 'hessian', not {(order, curvature)}.")

    def criterion(model: nn.Module, task: Task, batches: FullSet) -> Scores:
        with frozen_statistics(model) as weights:
            values = {name: w.detach() for name, w in weights.items()}
            if order == 1:
                (slope,) = average_gradients(model, task, batches, weights, functions=[identity], per="batch")
                return {name: (slope[name] * w).abs() for name, w in values.items()}
            if curvature == "fisher":
                slope, bend = average_gradients(
                    model, task, batches, weights, functions=[identity, torch.square], per="sample"
                )
            else:
                (slope,) = average_gradients(model, task, batches, weights, functions=[identity], per="batch")
                bend = hessian_diagonal(model, task, batches, weights)
            return {name: (bend[name] * w * w / 2 - slope[name] * w).abs() for name, w in values.items()}

    def hessian_diagonal(model: nn.Module, task: Task, batches: FullSet, weights: dict[str, nn.Parameter]) -> Scores:
        chance = torch.Generator().manual_seed(seed)
        total = {name: torch.zeros_like(w) for name, w in weights.items()}
        for _ in range(probes):
            signs = {name: random_signs(w, chance) for name, w in weights.items()}
            for name, h in hessian_vector_product(model, task, batches, weights, signs, exact=exact).items():
                total[name].add_(h * signs[name], alpha=1 / probes)
        return {name: t.detach() for name, t in total.items()}

    return criterion


def random_signs(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Draw -1 or 1 for each element."""
    drawn = torch.randint(0, 2, weight.shape, generator=generator) * 2 - 1
    return drawn.to(weight.device, weight.dtype)


THIS = taylor
