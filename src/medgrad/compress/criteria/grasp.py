"""GraSP: keep the connections that let the gradient flow."""

from __future__ import annotations

from torch import nn

from ...descent.gradients import FullSet
from ...tasks import Task
from ._criterion import Criterion, Scores, average_gradients, frozen_statistics, identity
from ._hessian_vector import hessian_vector_product


def grasp(*, exact: bool = True) -> Criterion:
    """Score a weight by w (H g), g the gradient and H the Hessian of the mean loss. Wang et al., ICLR 2020, eq. 8.

    When w goes to 0, the squared norm of the gradient changes by -2 w (H g) to first order. The paper calls -w (H g)
    the score and removes the weights where it is *highest*: those without which there is more gradient to descend by.
    Here the larger matters more, so the sign is the other way round, and a score below 0 says that the network learns
    better without it. Texts that remove the lowest of -w (H g), or take the absolute value, prune the wrong ones.

    For the beginning of training: batch norm goes by the statistics of each batch. The paper's cooling of the logits
    is left out, since a task need not have any. ``exact`` false does with layers that cannot be differentiated twice.
    """

    def criterion(model: nn.Module, task: Task, batches: FullSet) -> Scores:
        with frozen_statistics(model, norm_statistics="batch") as weights:
            (slope,) = average_gradients(model, task, batches, weights, functions=[identity], per="batch")
            product = hessian_vector_product(model, task, batches, weights, slope, exact=exact)
            return {name: product[name] * w.detach() for name, w in weights.items()}

    return criterion


THIS = grasp
