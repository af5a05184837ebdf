"""Sharpness-aware minimisation: the gradient at the worst point nearby."""

from __future__ import annotations

from typing import Any

import torch

from ... import registry
from ._optimiser import Closure, NamedParameters, list_parameters, restoring


class SAM(torch.optim.Optimizer):
    """Wrap an optimiser so that it gets the gradients of the worst point nearby. They share groups and state."""

    def __init__(self, base: torch.optim.Optimizer, rho: float) -> None:
        super().__init__(base.param_groups, base.defaults)
        self.base, self.rho = base, rho
        self.param_groups, self.state = base.param_groups, base.state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.base.load_state_dict(state_dict)
        self.param_groups, self.state = self.base.param_groups, self.base.state

    def step(self, closure: Closure) -> Any:  # type: ignore[override]
        return self.base.step(lambda: self.perturbed_gradients(closure))

    @torch.no_grad()
    def perturbed_gradients(self, closure: Closure) -> Any:
        """Compute the gradients at ``rho`` along the gradient, and give the loss at the weights."""
        loss = closure()
        slopes = [(p, p.grad) for p in list_parameters(self) if p.grad is not None]
        lengths = [torch.linalg.vector_norm(g) for _, g in slopes]
        length = float(torch.linalg.vector_norm(torch.stack(lengths))) if lengths else 0.0
        if length > 0:
            with restoring([p for p, _ in slopes]):
                for p, g in slopes:
                    p.add_(g, alpha=self.rho / length)
                closure()
        return loss


def sam(
    named: NamedParameters,
    *,
    rate: float = 1e-3,
    decay: float = 1e-2,
    rho: float = 0.05,
    base: str = "adamw",
    **settings: Any,
) -> torch.optim.Optimizer:
    """The optimiser named by ``base`` (with the other settings, which are its own), fed g(w + rho * g(w) / |g(w)|).

    Foret et al., ICLR 2021; the norm is over all parameters. On a flat spot the place itself is taken. Running
    statistics of batch norms see both places.

    One step costs two gradients for each that ``base`` asks for, the memory of ``base``, and while it lasts a copy of
    the weights.

    >>> from torch import nn
    >>> sam(nn.Linear(2, 2).named_parameters(), base="nesterov", momentum=0.95, rate=0.01).param_groups[0]["momentum"]
    0.95
    """
    registry.check_settings("descent.optimisers", base, settings)
    make = registry.find("descent.optimisers", base)
    return SAM(make(named, rate=rate, decay=decay, **settings), rho)


THIS = sam
