"""What the optimisers share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

NamedParameters = Iterable[tuple[str, nn.Parameter]]
Closure = Callable[[], Any]

BLOCK = 1 << 17
"""Of the powers of two, this many elements at once are quickest on a processor."""


def decay_groups(named: NamedParameters, *, decay: float) -> list[dict[str, Any]]:
    """Part the parameters into weights, which decay, and biases and norms (one axis or none), which do not."""
    every = [p for _, p in named if p.requires_grad]
    parts = [
        {"params": [p for p in every if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in every if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [part for part in parts if part["params"]]


def list_parameters(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    """List what an optimiser steps, in order."""
    return [p for group in optimiser.param_groups for p in group["params"]]


def parameters_with_gradient(optimiser: torch.optim.Optimizer) -> Iterator[tuple[dict[str, Any], Tensor, Tensor]]:
    """Yield (group, parameter, gradient) of each parameter that has a gradient."""
    for group in optimiser.param_groups:
        for p in group["params"]:
            if p.grad is not None:
                yield group, p, p.grad


def split_blocks(weights: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Split weights and tensors of the same shape into flat pieces that can be altered in place.

    On a CPU a piece stays in the cache from one operation to the next. Weights and state must have the same
    memory format; a gradient need not.
    """
    order = sorted(range(weights.ndim), key=weights.stride, reverse=True)
    if not weights.permute(order).is_contiguous():
        yield weights, *others
        return
    size = BLOCK if weights.device.type == "cpu" else max(1, weights.numel())
    yield from zip(*(t.permute(order).reshape(-1).split(size) for t in (weights, *others)), strict=True)


@contextmanager
def restoring(weights: Sequence[Tensor]) -> Iterator[None]:
    """Restore weights to the same bits after the block, whatever happens."""
    kept = [w.clone() for w in weights]
    try:
        yield
    finally:
        with torch.no_grad():
            for w, old in zip(weights, kept, strict=True):
                w.copy_(old)


def with_matching_strides(optimiser: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Make an optimiser keep weights, gradients and state in the same memory format (such as channels-last).

    torch's fused forms go through all of them side by side in memory and do not check the strides. A checkpoint
    holds every tensor in plain order, and a gradient that was not made by ``backward`` may have any.
    """
    optimiser.register_load_state_dict_post_hook(match_state_strides)
    optimiser.register_step_pre_hook(match_gradient_strides)
    return optimiser


def match_state_strides(optimiser: torch.optim.Optimizer) -> None:
    """Give the state of each parameter the strides of the parameter."""
    for p, kept in optimiser.state.items():
        for name, value in kept.items():
            if isinstance(value, Tensor) and value.shape == p.shape and value.stride() != p.stride():
                kept[name] = torch.empty_like(p, dtype=value.dtype).copy_(value)


def match_gradient_strides(optimiser: Any, args: Any, kwargs: Any) -> Any:
    """Wrap the closure of a step so that each gradient has the strides of its parameter."""
    closure: Closure = kwargs["closure"] if "closure" in kwargs else args[1]

    def evaluate() -> Any:
        loss = closure()
        for _, p, gradient in parameters_with_gradient(optimiser):
            if gradient.stride() != p.stride():
                p.grad = torch.empty_like(p).copy_(gradient)
        return loss

    return (optimiser, evaluate), {}
