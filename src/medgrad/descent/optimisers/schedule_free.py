"""Schedule-free AdamW: the weights are a mean of the fast walk, so that no schedule must know when the run ends."""

from __future__ import annotations

from typing import Any

import torch

from ._optimiser import (
    Closure,
    NamedParameters,
    decay_groups,
    parameters_with_gradient,
    restoring,
    split_blocks,
    with_matching_strides,
)


class ScheduleFree(torch.optim.Optimizer):
    """Between steps the parameters hold x, the mean that is evaluated; only the closure sees them at y."""

    @torch.no_grad()
    def step(self, closure: Closure) -> Any:  # type: ignore[override]
        begun = [(p, group) for group in self.param_groups for p in group["params"] if p in self.state]
        with restoring([p for p, _ in begun]):
            for p, group in begun:
                p.lerp_(self.state[p]["fast"], 1 - group["betas"][0])
            loss = closure()
        for group, p, gradient in parameters_with_gradient(self):
            self.update_parameter(group, p, gradient)
        return loss

    def update_parameter(self, group: dict[str, Any], p: torch.Tensor, gradient: torch.Tensor) -> None:
        """Move the fast walk against the slope at y, and the mean towards the fast walk."""
        kept = self.state[p]
        if not kept:
            kept |= {"fast": p.clone(), "square": torch.zeros_like(p), "count": 0, "total": 0.0}
        rate, (short, long), decay = group["lr"], group["betas"], group["weight_decay"]
        kept["count"] += 1
        kept["total"] += rate**2
        share = rate**2 / kept["total"] if kept["total"] else 0.0
        correction = 1 - long ** kept["count"]
        for x, g, z, v in split_blocks(p, gradient, kept["fast"], kept["square"]):
            v.mul_(long).addcmul_(g, g, value=1 - long)
            way = g / (v / correction).sqrt_().add_(group["eps"])
            if decay:
                way.add_(torch.lerp(x, z, 1 - short), alpha=decay)
            z.sub_(way, alpha=rate)
            x.lerp_(z, share)


def schedule_free(
    named: NamedParameters,
    *,
    rate: float = 2.5e-3,
    decay: float = 1e-2,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> torch.optim.Optimizer:
    """Defazio et al., The Road Less Scheduled, NeurIPS 2024, in its AdamW form.

    With g the gradient at y = (1 - beta1) * z + beta1 * x, v the moving mean of g squared over 1 - beta2^t, and c the
    share of rate^2 in its sum over all steps: z <- z - rate * (g / (sqrt(v) + eps) + decay * y);
    x <- (1 - c) * x + c * z. The weights are x. Use it with the schedule ``constant`` and a short warm-up; it also
    keeps step with any other. Running statistics of batch norms are those at y.

    One step costs one gradient, twice as much memory again as the weights, and while it lasts a copy of the weights.
    """
    defaults = {"lr": rate, "betas": betas, "eps": eps, "weight_decay": 0.0}
    return with_matching_strides(ScheduleFree(decay_groups(named, decay=decay), defaults))


THIS = schedule_free
