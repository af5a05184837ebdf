"""Masks of pruned weights: which weights are prunable, which are pruned, and how masks change."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

Kept = dict[str, Tensor]
"""For each weight that may be pruned, where it is kept: a tensor of its shape, true or false."""


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Map names to the weights of convolutions and linear layers; never biases, nor the scales of norms.

    >>> list(prunable(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 1))))
    ['0.weight', '2.weight']
    """
    layers = [m for m in model.modules() if isinstance(m, (_ConvNd, nn.Linear))]
    found = {id(m.weight) for m in layers if isinstance(m.weight, nn.Parameter)}
    return {name: p for name, p in model.named_parameters() if id(p) in found}


@torch.no_grad()
def kept_of(weights: Mapping[str, Tensor]) -> Kept:
    """Read masks from weights: kept wherever they are not exactly 0.

    A weight that is 0 everywhere is not pruned: last layers start at 0, so all of it is kept.
    """
    return {name: or_all(w != 0) for name, w in weights.items()}


def or_all(kept: Tensor) -> Tensor:
    """Keep the whole layer if its mask is empty."""
    return kept if bool(kept.any()) else torch.ones_like(kept)


@torch.no_grad()
def zero_outside(weights: Mapping[str, Tensor], kept: Mapping[str, Tensor]) -> None:
    """Set weights to 0, in place, where they are not kept; also those that are not finite there."""
    for name, mask in kept.items():
        weights[name].masked_fill_(~mask, 0.0)


def lowest(scores: Tensor, count: int) -> Tensor:
    """Mark the ``count`` lowest scores; of equal ones, an evenly spread choice.

    >>> lowest(torch.tensor([3.0, 1.0, 2.0, 1.0]), 1).tolist()
    [False, True, False, False]
    """
    flat = scores.flatten()
    if count <= 0 or count >= len(flat):
        return torch.full_like(scores, count > 0, dtype=torch.bool)
    bound = flat.kthvalue(count).values
    marked = flat < bound
    equal = (flat == bound).nonzero().squeeze(1)
    missing = count - int(marked.sum())
    marked[equal[torch.arange(missing, device=equal.device) * len(equal) // missing]] = True
    return marked.view(scores.shape)


def with_best(kept: Tensor, scores: Tensor) -> Tensor:
    """Keep the best weight of a layer if its mask is empty."""
    return kept if bool(kept.any()) else lowest(-scores, 1)


def dropped_and_grown(weight: Tensor, gradient: Tensor, kept: Tensor, share: float) -> Tensor:
    """Drop the smallest ``share`` of a layer's kept weights, and regrow as many with the largest gradients (RigL).

    A dropped weight may be regrown at once, with its value. Evci et al., ICML 2020, algorithm 1.

    >>> w, g = torch.tensor([3.0, 1.0, 0.0, 0.0]), torch.tensor([0.0, 0.1, 0.2, -0.9])
    >>> dropped_and_grown(w, g, w != 0, 0.5).tolist()
    [True, False, False, True]
    """
    count = min(round(share * int(kept.sum())), int((~kept).sum()))
    left = kept & ~lowest(weight.abs().masked_fill(~kept, torch.inf), count)
    return left | lowest(-gradient.abs().masked_fill(left, -torch.inf), count)
