"""SynFlow: synaptic flow through each weight, without data."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from ...descent.gradients import FullSet, Masks, keep_best_if_empty, lowest_mask, prunable_weights, zero_pruned
from ...errors import SettingError
from ...models import InstanceNorm
from ...tasks import Task, network_arguments
from ._criterion import Criterion, Scores, frozen_statistics, iterate_batches, weight_gradients

NORM_LAYERS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, InstanceNorm)
LAST_AXIS_NORMS = (nn.LayerNorm, nn.RMSNorm)
"""The norms whose scale belongs to the last axes; that of the others belongs to the channels."""


def synflow(*, rounds: int = 20, share: float = 0.9) -> Criterion:
    """Score a weight by |w| dR/d|w|, R the sum of the outputs for an input of ones. Tanaka et al., NeurIPS 2020.

    All is done on a copy that is linear and positive: weights are taken by their size, biases are 0, activations let
    everything through, and a norm divides by the mean of what it is given, as by a constant, and multiplies by the size
    of its scale. So in a chain of layers the scores of each layer sum to the same R. The set gives only the shape of an
    input.

    In one round the widest layers, over whose weights R is spread thinnest, are emptied and the network is cut in two.
    With more ``rounds`` the copy is pruned to ``share`` step by step, its density falling as a power, and the flow is
    measured again in between, so that what is left of a layer grows dear. The scores are then the order in which
    weights went: the whole part counts the round, the rest is the score that the weight had then, against the largest.
    """
    if rounds < 1 or not 0 < share < 1:
        raise SettingError(f"At least one round and a share between 0 and 1 are needed, not {(rounds, share)}.")

    def criterion(model: nn.Module, task: Task, batches: FullSet) -> Scores:
        del task
        first = next(iterate_batches(batches, "batch")).part(slice(1)).inputs
        copy = linear_copy(model)
        weights, ones = prunable_weights(copy), [torch.ones_like(x) for x in network_arguments(model, first)]
        if rounds == 1:
            return synaptic_flow(copy, weights, ones)
        order = {name: torch.zeros_like(w) for name, w in weights.items()}
        kept: Masks = {name: torch.ones_like(w, dtype=torch.bool) for name, w in weights.items()}
        for number in range(rounds):
            zero_pruned(weights, kept)
            scores = synaptic_flow(copy, weights, ones)
            largest = max(float(s.max()) for s in scores.values()) or 1.0
            for name, mask in kept.items():
                order[name][mask] = number + 0.999 * (scores[name][mask] / largest)
            if number == 0:
                dead = {name: s == 0 for name, s in scores.items()}
            kept = prune_lowest(scores, kept, 1 - (1 - share) ** ((number + 1) / rounds))
        return {name: s.detach().masked_fill(dead[name], 0.0) for name, s in order.items()}

    return criterion


@torch.no_grad()
def linear_copy(model: nn.Module) -> nn.Module:
    """Copy a network as a linear one with positive weights."""
    copy = deepcopy(model)
    for parent in list(copy.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NORM_LAYERS):
                setattr(
                    parent,
                    name,
                    LinearNorm(getattr(child, "weight", None), on_last_axis=isinstance(child, LAST_AXIS_NORMS)),
                )
            elif is_activation(child):
                setattr(parent, name, nn.Identity())
    for name, p in copy.named_parameters():
        if name.rpartition(".")[2] == "bias":
            p.zero_()
        else:
            p.abs_()
    return copy


def is_activation(module: nn.Module) -> bool:
    """Tell whether a module is an elementwise activation of torch."""
    return type(module).__module__ == "torch.nn.modules.activation" and not isinstance(module, nn.MultiheadAttention)


class LinearNorm(nn.Module):
    """A linearised norm: divide by the mean absolute input as a constant, and multiply by the absolute scale.

    Without the division the flow through a deep network overflows.
    """

    def __init__(self, scale: Tensor | None, *, on_last_axis: bool) -> None:
        super().__init__()
        self.scale = None if scale is None else nn.Parameter(scale.detach().abs().clone())
        self.on_last_axis = on_last_axis

    def forward(self, x: Tensor) -> Tensor:
        x = x / x.detach().abs().mean().clamp_min(torch.finfo(x.dtype).tiny)
        if self.scale is None:
            return x
        return x * (self.scale if self.on_last_axis else self.scale.view(-1, *(1,) * (x.ndim - 2)))


def synaptic_flow(model: nn.Module, weights: dict[str, nn.Parameter], inputs: Sequence[Tensor]) -> Scores:
    """Give the SynFlow scores |w| dR/d|w| of a linearised network."""
    with frozen_statistics(model):
        out = model(*inputs)
        total = torch.stack([o.sum() for o in (out if isinstance(out, tuple) else (out,))]).sum()
        return {name: (g * weights[name].detach()).abs() for name, g in weight_gradients(total, weights).items()}


def prune_lowest(scores: Scores, masks: Masks, share: float) -> Masks:
    """Prune the lowest ``share`` of all weights; pruned weights stay pruned, and each layer keeps at least one."""
    masked_scores = {name: scores[name].masked_fill(~mask, -1.0) for name, mask in masks.items()}
    flat = torch.cat([s.flatten() for s in masked_scores.values()])
    gone = lowest_mask(flat, round(share * len(flat))).split([m.numel() for m in masks.values()])
    left = {name: masks[name] & ~g.view(masks[name].shape) for name, g in zip(masks, gone, strict=True)}
    return {name: keep_best_if_empty(mask, masked_scores[name]) for name, mask in left.items()}


THIS = synflow
