"""Lion: every weight moves by the rate, against the sign of the mean gradient."""

from __future__ import annotations

from typing import Any

import torch

from ._optimiser import (
    Closure,
    NamedParameters,
    decay_groups,
    parameters_with_gradient,
    split_blocks,
    with_matching_strides,
)


class Lion(torch.optim.Optimizer):
    """Steps of one length, and one memory."""

    @torch.no_grad()
    def step(self, closure: Closure) -> Any:  # type: ignore[override]
        loss = closure()
        for group, p, gradient in parameters_with_gradient(self):
            kept = self.state[p]
            if not kept:
                kept["mean"] = torch.zeros_like(p)
            rate, (short, long) = group["lr"], group["betas"]
            for w, g, m in split_blocks(p, gradient, kept["mean"]):
                direction = torch.lerp(g, m, short).sign_()
                w.mul_(1 - rate * group["weight_decay"]).sub_(direction, alpha=rate)
                m.lerp_(g, 1 - long)
        return loss


def lion(
    named: NamedParameters, *, rate: float = 3e-4, decay: float = 3e-2, betas: tuple[float, float] = (0.9, 0.99)
) -> torch.optim.Optimizer:
    """w <- w - rate * (sign(beta1 * m + (1 - beta1) * g) + decay * w);  m <- beta2 * m + (1 - beta2) * g.

    Chen et al., NeurIPS 2023. Each weight moves by the whole rate at each step, so the rate is a third to a tenth of
    ``adamw``'s, and the decay as many times its.

    One step costs one gradient, and as much memory again as the weights.
    """
    return with_matching_strides(
        Lion(decay_groups(named, decay=decay), {"lr": rate, "betas": betas, "weight_decay": 0.0})
    )


THIS = lion
