"""Monitor layers during training: gradients, updates, dead and saturated units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import sqrt
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Seen = TypeVar("Seen")
RECTIFIERS = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.GELU, nn.SiLU, nn.ELU)
BOUNDED = {nn.Sigmoid: (0.0, 1.0), nn.Tanh: (-1.0, 1.0)}
NEAR = 0.01
"""How near to its bounds a unit counts as saturated."""


def is_due(step: int) -> bool:
    """Tell whether a step is monitored: every step at first, then ever fewer, so that monitoring costs little.

    >>> [s for s in (0, 19, 25, 30, 1005, 1100) if is_due(s)]
    [0, 19, 30, 1100]
    """
    return step < 20 or step % (10 if step < 1000 else 100) == 0


def watched(network: nn.Module, steps: Iterable[Seen], *, first: int) -> Iterator[tuple[Seen, dict[str, Any]]]:
    """Yield each step with the layer statistics of it, counted from the step ``first``."""
    watch = Watch(network)
    watch.before(first)
    try:
        for number, step in enumerate(steps, first):
            yield step, watch.after(number)
            watch.before(number + 1)
    finally:
        watch.leave()


class Watch:
    """Monitor the layers of a network on selected steps, without a change of the results.

    Call ``before(step)`` ahead of each step and ``after(step)`` behind it. Gradients are those that the optimiser
    used; activations are counted by forward hooks, which are removed again.
    """

    def __init__(self, network: nn.Module) -> None:
        self.named = [(n, p) for n, p in network.named_parameters() if p.requires_grad and p.ndim > 1]
        modules: list[tuple[str, nn.Module]] = list(network.named_modules())
        self.active = [(name, m) for name, m in modules if isinstance(m, (*RECTIFIERS, *BOUNDED))]
        self.kept: list[Tensor] = []
        self.hooks: list[Any] = []
        self.dead: dict[str, float] = {}
        self.saturated: dict[str, float] = {}

    def before(self, step: int) -> None:
        """Copy the weights and install the hooks, if the step is monitored."""
        if not is_due(step):
            return
        self.dead, self.saturated = {}, {}
        with torch.no_grad():
            self.kept = [p.detach().clone() for _, p in self.named]
        for name, module in self.active:
            self.hooks.append(module.register_forward_hook(self.looker(name, module)))

    def looker(self, name: str, module: nn.Module) -> Any:
        """Make a forward hook that counts the dead or saturated units of a layer."""

        def look(_: nn.Module, __: Any, output: Tensor) -> None:
            said = output.detach()
            axes = [0, *range(2, said.ndim)]
            if isinstance(module, RECTIFIERS):
                self.dead[name] = float((said.amax(axes) <= 0).float().mean())
                return
            low, high = next(v for k, v in BOUNDED.items() if isinstance(module, k))
            is_near = (said - low < NEAR * (high - low)) | (high - said < NEAR * (high - low))
            self.saturated[name] = float(is_near.float().mean())

        return look

    def leave(self) -> None:
        """Remove the hooks."""
        for hook in self.hooks:
            hook.remove()
        self.hooks = []

    @torch.no_grad()
    def after(self, step: int) -> dict[str, Any]:
        """Give what was seen: for each layer the norms of its gradient, its weights and its update; shares of units.

        Empty where the step was not due. The ``update`` is the root mean square of the change, times the root of how
        many inputs a unit has: 1 means that the step alone can change what a unit says by as much as it says.
        """
        self.leave()
        if not is_due(step) or not self.kept:
            return {}
        weights = [p.detach() for _, p in self.named]
        moved = torch._foreach_norm(torch._foreach_sub(weights, self.kept))
        sizes = torch._foreach_norm(self.kept)
        self.kept = []
        layers: dict[str, dict[str, float]] = {}
        for (name, p), size, move in zip(self.named, sizes, moved, strict=True):
            if p.grad is not None:
                layers[name] = {
                    "gradient": float(torch.linalg.vector_norm(p.grad)),
                    "weight": float(size),
                    "update": float(move) / sqrt(p.numel()) * sqrt(p[0].numel()),
                }
        shares: Mapping[str, Mapping[str, float]] = {"dead": self.dead, "saturated": self.saturated}
        return {"layers": layers} | {k: dict(v) for k, v in shares.items() if v}
