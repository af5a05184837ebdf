"""The type of a pruning criterion, and gradients over a data set that leave the network unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from ...descent.gradients import FullSet, prunable_weights
from ...errors import Diverged, SettingError
from ...tasks import Batch, Task, run_network

Scores = dict[str, Tensor]
"""For each weight that may be pruned, by its name in ``model.named_parameters()``, how much each element matters."""

Criterion = Callable[[nn.Module, Task, FullSet], Scores]
"""Give the scores of a network on a set: the larger, the more an element matters; 0 if it does nothing.

Scores are not negative, but for the criteria that tell which way a weight goes (``movement``, ``grasp``): below 0 the
network is better without it. ``batches`` yields the set once, always the same. The network comes back as it was:
weights, gradients, modes and statistics. The same call gives the same scores.
"""

Granularity = Literal["sample", "batch"]
NormStatistics = Literal["running", "batch"]


@contextmanager
def frozen_statistics(
    model: nn.Module, *, norm_statistics: NormStatistics = "running"
) -> Iterator[dict[str, nn.Parameter]]:
    """Freeze dropout, norm statistics and the random seed while gradients are taken, and yield the prunable weights.

    Composite modules stay in training mode, so that all heads take part in the loss. Layers are in evaluation
    mode: no dropout, and batch norm uses its ``running`` statistics, or those of the ``batch`` for a network that
    has not been trained yet. Randomness that remains is the same each time. Everything is restored at the end.
    """
    modes = [(m, m.training) for m in model.modules()]
    requires_grad = [(p, p.requires_grad) for p in model.parameters()]
    buffers = [(b, b.clone()) for b in model.buffers()]
    weights = prunable_weights(model)
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    try:
        for module, _ in modes:
            module.training = bool(module._modules) or (norm_statistics == "batch" and isinstance(module, _NormBase))
        for weight in weights.values():
            weight.requires_grad_(True)
        with torch.random.fork_rng(devices), torch.enable_grad():
            torch.manual_seed(0)
            yield weights
    finally:
        for module, mode in modes:
            module.training = mode
        for p, was in requires_grad:
            p.requires_grad_(was)
        with torch.no_grad():
            for buffer, old in buffers:
                buffer.copy_(old)


def batch_loss(model: nn.Module, task: Task, batch: Batch) -> Tensor:
    """Give the loss of a batch as a tensor."""
    return torch.stack(
        [term.reshape(()) for term in task.loss(run_network(model, batch.inputs), batch.target).values()]
    ).sum()


def weight_gradients(loss: Tensor, weights: Mapping[str, Tensor], *, create_graph: bool = False) -> Scores:
    """Give the gradient of a loss at each weight, 0 where the loss does not depend on it.

    The gradients in ``p.grad`` are not touched.
    """
    found = torch.autograd.grad(loss, list(weights.values()), create_graph=create_graph, allow_unused=True)
    grads = {name: torch.zeros_like(w) if g is None else g for (name, w), g in zip(weights.items(), found, strict=True)}
    check_finite(grads)
    return grads


def check_finite(values: Mapping[str, Tensor]) -> None:
    """Raise if a value is not finite."""
    for name, value in values.items():
        if not bool(value.detach().isfinite().all()):
            raise Diverged(
                f"The gradient of {name!r} is not a finite number, so its weights cannot be ranked. "
                "Look for damaged cases, or go back to weights whose loss is finite."
            )


def iterate_batches(batches: FullSet, per: Granularity) -> Iterator[Batch]:
    """Yield the set batch by batch, or sample by sample."""
    if per not in ("sample", "batch"):
        raise SettingError(f"Gradients are taken of each 'sample' or each 'batch', not of each {per!r}.")
    empty = True
    for batch in batches():
        for i in range(batch.size if per == "sample" else 1):
            empty = False
            yield batch.part(slice(i, i + 1)) if per == "sample" else batch
    if empty:
        raise SettingError("There is no sample to take gradients of. Give batches that hold at least one.")


def average_gradients(
    model: nn.Module,
    task: Task,
    batches: FullSet,
    weights: Mapping[str, Tensor],
    *,
    functions: Sequence[Callable[[Tensor], Tensor]],
    per: Granularity,
) -> list[Scores]:
    """Average functions of the gradients over the data set; a batch counts as often as it has samples."""
    totals = [{name: torch.zeros_like(w) for name, w in weights.items()} for _ in functions]
    count = 0
    for part in iterate_batches(batches, per):
        size = part.size
        for name, g in weight_gradients(batch_loss(model, task, part), weights).items():
            for total, function in zip(totals, functions, strict=True):
                total[name].add_(function(g), alpha=size)
        count += size
    return [{name: t.div_(count).detach() for name, t in total.items()} for total in totals]


def identity(gradient: Tensor) -> Tensor:
    """Return the gradient unchanged, so that its mean is the gradient of the mean loss."""
    return gradient
