"""Gradient accumulation: split a large batch into parts that fit in memory."""

from itertools import pairwise

import torch
from torch import nn

from ...tasks import Batch, Task
from ._gradients import Gradients
from .plain import plain


def accumulated(*, parts: int = 2, inner: Gradients | None = None) -> Gradients:
    """Give the mean gradient over ``parts`` of the batch, one at a time, for less memory."""
    make = inner or plain()

    def gradients(model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        if not batch.size:
            return make(model, task, batch)
        terms: dict[str, float] = {}
        sums: list[torch.Tensor | None] = [None for _ in model.parameters()]
        n = batch.size
        bounds = [round(i * n / parts) for i in range(parts + 1)]
        for start, stop in pairwise(bounds):
            if start == stop:
                continue
            model.zero_grad()
            piece = batch.part(slice(start, stop))
            share = (stop - start) / n
            for name, value in make(model, task, piece).items():
                terms[name] = terms.get(name, 0.0) + share * value
            for i, p in enumerate(model.parameters()):
                if p.grad is not None:
                    so_far = sums[i]
                    sums[i] = p.grad * share if so_far is None else so_far + p.grad * share
        for p, total in zip(model.parameters(), sums, strict=True):
            p.grad = total
        return terms

    return gradients


THIS = accumulated
