"""Mean absolute gradient of each weight."""

from __future__ import annotations

from torch import Tensor, nn

from ...descent.gradients import FullSet
from ...tasks import Task
from ._criterion import Criterion, Granularity, Scores, average_gradients, frozen_statistics


def gradient(*, per: Granularity = "sample") -> Criterion:
    """Score a weight by mean |dL/dw| over the set: of the loss of each ``sample``, or of each ``batch``.

    With ``masks_of(scores, epsilon=...)`` this is the gradient threshold: a weight whose mean absolute gradient is
    below epsilon is set to 0. The absolute value stands inside the mean: the gradient of the mean loss is 0 at every
    weight of a network that has learned to the end, and says nothing. Of batches it is smaller than of samples, for
    their gradients cancel; so an epsilon belongs to one of the two, and to one size of batches.

    It looks at the slope alone. How far a weight is from 0 it does not know; ``taylor`` does.
    """

    def criterion(model: nn.Module, task: Task, batches: FullSet) -> Scores:
        with frozen_statistics(model) as weights:
            return average_gradients(model, task, batches, weights, functions=[absolute], per=per)[0]

    return criterion


def absolute(value: Tensor) -> Tensor:
    """Give the size of each element."""
    return value.abs()


THIS = gradient
