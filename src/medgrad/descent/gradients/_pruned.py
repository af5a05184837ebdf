"""What is pruned: which weights may be, which are, and how the set of them moves."""

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
    """Read off the weights where they are kept: wherever they are not exactly 0.

    One that is 0 everywhere is not pruned: it begins there, as last layers do, and all of it is kept.
    """
    return {name: or_all(w != 0) for name, w in weights.items()}


def or_all(kept: Tensor) -> Tensor:
    """Keep all of a layer of which nothing is kept."""
    return kept if bool(kept.any()) else torch.ones_like(kept)


@torch.no_grad()
def zero_outside(weights: Mapping[str, Tensor], kept: Mapping[str, Tensor]) -> None:
    """Set weights to 0, in place, where they are not kept; also those that are not finite there."""
    for name, mask in kept.items():
        weights[name].masked_fill_(~mask, 0.0)


def lowest(scores: Tensor, count: int) -> Tensor:
    """Mark the ``count`` lowest of some scores; of those that are equal, some that are spread evenly.

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
    """Keep the best of a layer of which nothing else is kept."""
    return kept if bool(kept.any()) else lowest(-scores, 1)


def dropped_and_grown(weight: Tensor, gradient: Tensor, kept: Tensor, share: float) -> Tensor:
    """Drop ``share`` of a layer's kept weights, the smallest, and keep as many others, those of the steepest slope.

    What was dropped may come back at once, with the value that it had. Evci et al., ICML 2020, algorithm 1.

    >>> w, g = torch.tensor([3.0, 1.0, 0.0, 0.0]), torch.tensor([0.0, 0.1, 0.2, -0.9])
    >>> dropped_and_grown(w, g, w != 0, 0.5).tolist()
    [True, False, False, True]
    """
    count = min(round(share * int(kept.sum())), int((~kept).sum()))
    left = kept & ~lowest(weight.abs().masked_fill(~kept, torch.inf), count)
    return left | lowest(-gradient.abs().masked_fill(left, -torch.inf), count)
