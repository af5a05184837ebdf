"""Entropy-SGD: descent on the local entropy, which favours wide minima."""

from __future__ import annotations

from typing import Any

import torch

from ._optimiser import (
    Closure,
    NamedParameters,
    decay_groups,
    list_parameters,
    parameters_with_gradient,
    restoring,
    split_blocks,
    with_matching_strides,
)


class EntropySGD(torch.optim.Optimizer):
    """Between steps the parameters hold mu, the mean of the walk; only the closure sees them where the walk is."""

    @torch.no_grad()
    def step(self, closure: Closure) -> Any:  # type: ignore[override]
        every = list_parameters(self)
        begun = [p for p in every if p in self.state]
        with restoring(begun):
            for p in begun:
                p.copy_(self.state[p]["walk"])
            loss = closure()
        numbers = {p: number for number, p in enumerate(every)}
        for group, p, gradient in parameters_with_gradient(self):
            self.walk_one_step(group, p, gradient, numbers[p])
        return loss

    def walk_one_step(self, group: dict[str, Any], p: torch.Tensor, gradient: torch.Tensor, number: int) -> None:
        """Walk one step and take it into the mean; after ``inner`` of them, move the anchor."""
        kept = self.state[p]
        if not kept:
            kept |= {"anchor": p.clone(), "walk": p.clone(), "memory": torch.zeros_like(p), "count": 0}
        rate, momentum, alpha = group["lr"], group["momentum"], group["alpha"]
        pull = anchor_pull(kept["count"] // group["inner"], group)
        chance = normal_noise(p, (group["seed"], number, kept["count"])) if group["noise"] else torch.zeros_like(p)
        kept["count"] += 1
        is_last = kept["count"] % group["inner"] == 0
        for mean, g, x, walk, memory, blur in split_blocks(
            p, gradient, kept["anchor"], kept["walk"], kept["memory"], chance
        ):
            slope = torch.add(g, walk, alpha=group["weight_decay"]).add_(walk - x, alpha=pull)
            memory.mul_(momentum).add_(slope)
            walk.sub_(slope.add_(memory, alpha=momentum), alpha=rate).add_(blur, alpha=rate**0.5 * group["noise"])
            mean.lerp_(walk, alpha)
            if is_last:
                x.lerp_(mean, group["outer"])
                walk.copy_(x)
                mean.copy_(x)


def anchor_pull(moves: int, group: dict[str, Any]) -> float:
    """Give the strength of the pull to the anchor after so many moves of it."""
    grown: float = group["pull"] * (1 + group["growth"]) ** moves
    return min(1.0, grown)


def normal_noise(p: torch.Tensor, seed: tuple[int, ...]) -> torch.Tensor:
    """Draw from the standard normal, the same for the same seed, in whatever order the parameter lies."""
    chance = torch.Generator(p.device).manual_seed(hash(seed) % 2**32)
    return torch.randn(p.shape, generator=chance, dtype=p.dtype, device=p.device)


def entropy_sgd(
    named: NamedParameters,
    *,
    rate: float = 1e-2,
    decay: float = 3e-5,
    inner: int = 20,
    outer: float = 1.0,
    pull: float = 0.03,
    growth: float = 1e-3,
    noise: float = 1e-4,
    alpha: float = 0.75,
    momentum: float = 0.9,
    seed: int = 0,
) -> torch.optim.Optimizer:
    """Chaudhari et al., ICLR 2017: descent on the local entropy, whose gradient is that to the mean of a Langevin walk.

    Each step walks once, on that step's batch, with g the gradient at the walk x':
    h = g + decay * x' + pull * (x' - x);  v <- momentum * v + h;
    x' <- x' - rate * (h + momentum * v) + sqrt(rate) * noise * N(0, 1);  mu <- (1 - alpha) * mu + alpha * x'.
    Every ``inner``-th step moves the anchor, x <- x - outer * (x - mu), and the walk begins there anew, with its memory
    v. The paper's rate times gamma is ``outer``; its gamma is ``pull``, which grows by ``growth`` at each move up to 1,
    where long runs stay stable. The weights are mu, so that a run may end at any step. The noise depends on ``seed``
    and the count of steps alone.

    One step costs one gradient and one normal draw a weight (none where ``normal_noise`` is 0), three times as much
    memory again as the weights, and while it lasts a copy of the weights.
    """
    walking = {"inner": inner, "outer": outer, "pull": pull, "growth": growth, "noise": noise, "alpha": alpha}
    defaults = {"lr": rate, "momentum": momentum, "seed": seed, "weight_decay": 0.0}
    return with_matching_strides(EntropySGD(decay_groups(named, decay=decay), defaults | walking))


THIS = entropy_sgd
