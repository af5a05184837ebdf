"""Masks of pruned weights: which weights are prunable, which are pruned, and how masks change."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

Masks = dict[str, Tensor]
"""For each weight that may be pruned, where it is kept: a tensor of its shape, true or false."""


def prunable_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Map names to the weights of convolutions and linear layers; never biases, nor the scales of norms.

    >>> list(prunable_weights(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 1))))
    ['0.weight', '2.weight']
    """
    layers = [m for m in model.modules() if isinstance(m, (_ConvNd, nn.Linear))]
    found = {id(m.weight) for m in layers if isinstance(m.weight, nn.Parameter)}
    return {name: p for name, p in model.named_parameters() if id(p) in found}


@torch.no_grad()
def nonzero_masks(weights: Mapping[str, Tensor]) -> Masks:
    """Read masks from weights: kept wherever they are not exactly 0.

    A weight that is 0 everywhere is not pruned: last layers start at 0, so all of it is kept.
    """
    return {name: all_if_empty(w != 0) for name, w in weights.items()}


def all_if_empty(mask: Tensor) -> Tensor:
    """Keep the whole layer if its mask is empty."""
    return mask if bool(mask.any()) else torch.ones_like(mask)


@torch.no_grad()
def zero_pruned(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    """Set weights to 0, in place, where they are not kept; also those that are not finite there."""
    for name, mask in masks.items():
        weights[name].masked_fill_(~mask, 0.0)


def lowest_mask(scores: Tensor, count: int) -> Tensor:
    """Mark the ``count`` lowest scores; of equal ones, an evenly spread choice.

    >>> lowest_mask(torch.tensor([3.0, 1.0, 2.0, 1.0]), 1).tolist()
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


def keep_best_if_empty(mask: Tensor, scores: Tensor) -> Tensor:
    """Keep the best weight of a layer if its mask is empty."""
    return mask if bool(mask.any()) else lowest_mask(-scores, 1)


def drop_and_regrow(weight: Tensor, gradient: Tensor, mask: Tensor, share: float) -> Tensor:
    """Drop the smallest ``share`` of a layer's kept weights, and regrow as many with the largest gradients (RigL).

    A dropped weight may be regrown at once, with its value. Evci et al., ICML 2020, algorithm 1.

    >>> w, g = torch.tensor([3.0, 1.0, 0.0, 0.0]), torch.tensor([0.0, 0.1, 0.2, -0.9])
    >>> drop_and_regrow(w, g, w != 0, 0.5).tolist()
    [True, False, False, True]
    """
    count = min(round(share * int(mask.sum())), int((~mask).sum()))
    left = mask & ~lowest_mask(weight.abs().masked_fill(~mask, torch.inf), count)
    return left | lowest_mask(-gradient.abs().masked_fill(left, -torch.inf), count)
