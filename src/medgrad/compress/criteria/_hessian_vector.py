"""Hessian-vector products of the mean loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ...descent.gradients import FullSet
from ...errors import SettingError
from ...tasks import Task
from ._criterion import Scores, average_gradients, batch_loss, check_finite, identity, iterate_batches, weight_gradients

STEP_SHARE = 1e-3
"""How far a difference reaches, as a share of the weights' norm."""


def hessian_vector_product(
    model: nn.Module,
    task: Task,
    batches: FullSet,
    weights: Mapping[str, nn.Parameter],
    vector: Mapping[str, Tensor],
    *,
    exact: bool = True,
) -> Scores:
    """Give the Hessian-vector product H v over the weights.

    ``exact`` differentiates twice, which some layers do not support. Otherwise the central difference (g(w + e v)
    - g(w - e v)) / 2e is used: it works for any network, to about three digits in float32 and to none in
    bfloat16.
    """
    return exact_hvp(model, task, batches, weights, vector) if exact else finite_difference_hvp(
        model, task, batches, weights, vector
    )  # fmt: skip


def exact_hvp(
    model: nn.Module, task: Task, batches: FullSet, weights: Mapping[str, Tensor], vector: Mapping[str, Tensor]
) -> Scores:
    """Give H v as the gradient of g.v. Pearlmutter, Neural Computation 1994."""
    total = {name: torch.zeros_like(w) for name, w in weights.items()}
    count = 0
    for part in iterate_batches(batches, "batch"):
        size = part.size
        try:
            first = weight_gradients(batch_loss(model, task, part), weights, create_graph=True)
            along = torch.stack([(g * vector[name]).sum() for name, g in first.items()]).sum()
            second = weight_gradients(along, weights) if along.requires_grad else {}
        except (RuntimeError, NotImplementedError) as reason:
            if "not implemented" not in str(reason):
                raise
            raise SettingError(
                "A layer of this network cannot be differentiated twice. Set exact to false: a difference will do."
            ) from reason
        for name, h in second.items():
            total[name].add_(h, alpha=size)
        count += size
    return {name: t.div_(count).detach() for name, t in total.items()}


@torch.no_grad()
def finite_difference_hvp(
    model: nn.Module,
    task: Task,
    batches: FullSet,
    weights: Mapping[str, nn.Parameter],
    vector: Mapping[str, Tensor],
) -> Scores:
    """Give H v as a central difference, and restore the weights to the same bits."""
    size, length = total_norm(weights), total_norm(vector)
    if not length:
        return {name: torch.zeros_like(w) for name, w in weights.items()}
    step = STEP_SHARE * (size or 1.0) / length
    original = {name: w.clone() for name, w in weights.items()}
    ends = []
    try:
        for sign in (1, -1):
            for name, w in weights.items():
                w.copy_(original[name] + sign * step * vector[name])
            with torch.enable_grad():
                ends += average_gradients(model, task, batches, weights, functions=[identity], per="batch")
    finally:
        for name, w in weights.items():
            w.copy_(original[name])
    found = {name: (ends[0][name] - ends[1][name]) / (2 * step) for name in weights}
    check_finite(found)
    return found


def total_norm(values: Mapping[str, Tensor]) -> float:
    """Give the norm of all tensors together."""
    return float(torch.stack([torch.linalg.vector_norm(v.detach()) for v in values.values()]).norm())
