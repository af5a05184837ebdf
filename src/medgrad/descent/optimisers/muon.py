"""Muon: each matrix of weights moves by the nearest orthogonal matrix to its mean gradient."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from ._optimiser import (
    Closure,
    NamedParameters,
    decay_groups,
    parameters_with_gradient,
    split_blocks,
    with_matching_strides,
)

QUINTIC_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
ADAMW_RMS = 0.2
"""The root mean square of AdamW's steps, in rates, to which those of Muon are scaled."""
MAX_STACKED_ELEMENTS = 1 << 18
"""Matrices of one shape are multiplied together up to so many elements; larger ones gain nothing from it."""


class Muon(torch.optim.Optimizer):
    """Groups marked ``orthogonalise`` move as matrices, all others by AdamW."""

    @torch.no_grad()
    def step(self, closure: Closure) -> Any:  # type: ignore[override]
        loss = closure()
        alike: dict[Any, list[tuple[dict[str, Any], Tensor, Tensor]]] = defaultdict(list)
        for group, p, gradient in parameters_with_gradient(self):
            if group["orthogonal"]:
                ahead = self.update_momentum(group, p, gradient)
                alike[ahead.flatten(1).shape, p.dtype, p.device].append((group, p, ahead))
            else:
                self.step_adamw(group, p, gradient)
        for same in alike.values():
            for together in split_stacks(same):
                self.step_matrices(together)
        return loss

    def update_momentum(self, group: dict[str, Any], p: Tensor, gradient: Tensor) -> Tensor:
        """Take a gradient into the mean, and give Nesterov's look ahead."""
        kept = self.state[p]
        if not kept:
            kept["mean"] = torch.zeros_like(p)
        ahead = torch.empty_like(p)
        for out, g, m in split_blocks(ahead, gradient, kept["mean"]):
            m.lerp_(g, 1 - group["momentum"])
            torch.lerp(g, m, group["momentum"], out=out)
        return ahead

    def step_matrices(self, matrices: Sequence[tuple[dict[str, Any], Tensor, Tensor]]) -> None:
        """Move matrices of one shape by orthogonal ones."""
        directions = orthogonalise(torch.stack([ahead.flatten(1) for _, _, ahead in matrices]))
        for (group, p, _), way in zip(matrices, directions, strict=True):
            rate = group["lr"]
            length = ADAMW_RMS * sqrt(max(way.shape))
            p.mul_(1 - rate * group["weight_decay"]).sub_(way.reshape(p.shape), alpha=rate * length)

    def step_adamw(self, group: dict[str, Any], p: Tensor, gradient: Tensor) -> None:
        """Move one parameter by AdamW."""
        kept = self.state[p]
        if not kept:
            kept |= {"mean": torch.zeros_like(p), "square": torch.zeros_like(p), "count": 0}
        kept["count"] += 1
        rate, (short, long) = group["lr"], group["betas"]
        first, second = (1 - beta ** kept["count"] for beta in (short, long))
        for w, g, m, v in split_blocks(p, gradient, kept["mean"], kept["square"]):
            m.lerp_(g, 1 - short)
            v.mul_(long).addcmul_(g, g, value=1 - long)
            w.mul_(1 - rate * group["weight_decay"])
            w.addcdiv_(m, (v / second).sqrt_().add_(group["eps"]), value=-rate / first)


def split_stacks(same: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Part matrices of one shape into stacks that are worth while."""
    count = max(1, MAX_STACKED_ELEMENTS // max(1, same[0][1].numel()))
    for start in range(0, len(same), count):
        yield same[start : start + count]


def orthogonalise(stack: Tensor) -> Tensor:
    """Give matrices with the singular vectors of these, and singular values near 1 (0.7 to 1.2), by Newton and Schulz.

    Each turn is X <- (a + b X X' + c (X X')^2) X. All turns are polynomials in the first X X', so they are multiplied
    out there, on the smaller side: for a kernel of 3 x 3 x 3 a fourth of the multiplications. (b, rows, columns)
    """
    if stack.shape[1] > stack.shape[2]:
        return orthogonalise(stack.mT).mT
    x = stack.to(torch.promote_types(stack.dtype, torch.float32))
    x = x / x.abs().amax((1, 2), keepdim=True).clamp_min(
        torch.finfo(x.dtype).tiny
    )  # the squares of tiny ones are nothing
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(1e-30)
    a, b, c = QUINTIC_COEFFICIENTS
    gram = x @ x.mT  # (b, rows, rows)
    whole = torch.empty(0)
    for number in range(NEWTON_SCHULZ_STEPS):
        turn = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        turn.diagonal(dim1=1, dim2=2).add_(a)
        whole = turn @ whole if number else turn
        if number < NEWTON_SCHULZ_STEPS - 1:
            gram = turn @ (turn @ gram)
    return (whole @ x).to(stack.dtype)


def muon(
    named: NamedParameters,
    *,
    rate: float = 1e-2,
    decay: float = 1e-2,
    momentum: float = 0.95,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> torch.optim.Optimizer:
    """m <- momentum * m + (1 - momentum) * g;  O = orthogonal((1 - momentum) * g + momentum * m);
    w <- w - rate * (0.2 * sqrt(max(rows, columns)) * O + decay * w).

    Jordan et al., Muon, 2024; the scale, which makes the rate that of ``adamw``, is that of Liu et al., Muon is
    Scalable for LLM Training, 2025. The kernels of a convolution are a matrix of (out, in * k * k). What has one axis
    or none, and where there are more than two weights the first and the last of them, move by AdamW.

    One step costs one gradient, as much memory again as the weights (twice for those that AdamW moves), and for a
    matrix of m rows and n >= m columns about 4 m^2 n + 34 m^3 operations: seconds on one thread of a processor for
    tens of millions of weights, next to nothing on a GPU.
    """
    every = [(name, p) for name, p in named if p.requires_grad]
    weights = [p for _, p in every if p.ndim > 1]
    hidden = weights[1:-1] if len(weights) > 2 else weights
    turned = {id(p) for p in hidden}
    parts = decay_groups([(name, p) for name, p in every if id(p) not in turned], decay=decay)
    if hidden:
        parts.insert(0, {"params": hidden, "weight_decay": decay, "orthogonal": True})
    defaults = {"lr": rate, "momentum": momentum, "betas": betas, "eps": eps}
    return with_matching_strides(Muon(parts, defaults | {"weight_decay": 0.0, "orthogonal": False}))


THIS = muon
