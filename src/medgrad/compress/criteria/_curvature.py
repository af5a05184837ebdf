"""Hessian-vector products of the mean loss."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ...descent.gradients import Everything
from ...errors import SettingError
from ...tasks import Task
from ._criterion import Scores, check, gradients, itself, loss_of_part, means, parts

SHORT = 1e-3
"""How far a difference reaches, as a share of the weights' norm."""


def curved(
    model: nn.Module,
    task: Task,
    batches: Everything,
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
    return differentiated(model, task, batches, weights, vector) if exact else differenced(
        model, task, batches, weights, vector
    )  # fmt: skip


def differentiated(
    model: nn.Module, task: Task, batches: Everything, weights: Mapping[str, Tensor], vector: Mapping[str, Tensor]
) -> Scores:
    """Give H v as the gradient of g.v. Pearlmutter, Neural Computation 1994."""
    total = {name: torch.zeros_like(w) for name, w in weights.items()}
    count = 0
    for part in parts(batches, "batch"):
        size = len(part.inputs)
        try:
            first = gradients(loss_of_part(model, task, part), weights, again=True)
            along = torch.stack([(g * vector[name]).sum() for name, g in first.items()]).sum()
            second = gradients(along, weights) if along.requires_grad else {}
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
def differenced(
    model: nn.Module,
    task: Task,
    batches: Everything,
    weights: Mapping[str, nn.Parameter],
    vector: Mapping[str, Tensor],
) -> Scores:
    """Give H v as a central difference, and restore the weights to the same bits."""
    size, length = norm(weights), norm(vector)
    if not length:
        return {name: torch.zeros_like(w) for name, w in weights.items()}
    reach = SHORT * (size or 1.0) / length
    kept = {name: w.clone() for name, w in weights.items()}
    ends = []
    try:
        for sign in (1, -1):
            for name, w in weights.items():
                w.copy_(kept[name] + sign * reach * vector[name])
            with torch.enable_grad():
                ends += means(model, task, batches, weights, of=[itself], each="batch")
    finally:
        for name, w in weights.items():
            w.copy_(kept[name])
    found = {name: (ends[0][name] - ends[1][name]) / (2 * reach) for name in weights}
    check(found)
    return found


def norm(values: Mapping[str, Tensor]) -> float:
    """Give the norm of all tensors together."""
    return float(torch.stack([torch.linalg.vector_norm(v.detach()) for v in values.values()]).norm())
