"""Full-batch gradient descent: the exact gradient of the whole training set."""

from __future__ import annotations

import torch
from torch import nn

from ...errors import SettingError
from ...tasks import Batch, Task
from ._gradients import FullSet, Gradients
from .plain import plain


def full_batch(*, full_set: FullSet | None = None, inner: Gradients | None = None) -> Gradients:
    """Give the mean gradient over every training sample, part by part; the batch that was drawn is not looked at.

    One step costs as much as an epoch. Fed to ``sgd`` it is gradient descent in the word's first sense; stochastic and
    mini-batch descent are the same step fed with one drawn sample, or a few. Without ``full_set`` the batch is all.
    """
    make = inner or plain()

    def gradients(model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        if full_set is None and not batch.size:
            return make(model, task, batch)
        terms: dict[str, float] = {}
        sums: list[torch.Tensor | None] = [None for _ in model.parameters()]
        count = 0
        for part in full_set() if full_set is not None else iter([batch]):
            model.zero_grad()
            weight = part.size
            for name, value in make(model, task, part).items():
                terms[name] = terms.get(name, 0.0) + weight * value
            for i, p in enumerate(model.parameters()):
                if p.grad is not None:
                    so_far = sums[i]
                    sums[i] = p.grad * weight if so_far is None else so_far.add_(p.grad, alpha=weight)
            count += weight
        if not count:
            raise SettingError("There is no training sample to take the whole set's gradient of.")
        for p, total in zip(model.parameters(), sums, strict=True):
            p.grad = total / count if total is not None else None
        return {name: value / count for name, value in terms.items()}

    return gradients


THIS = full_batch
