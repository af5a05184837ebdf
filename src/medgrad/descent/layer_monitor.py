"""Monitor layers during training: gradients, updates, dead and saturated units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import sqrt
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

StepResult = TypeVar("StepResult")
RECTIFIER_LAYERS = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.GELU, nn.SiLU, nn.ELU)
BOUNDED = {nn.Sigmoid: (0.0, 1.0), nn.Tanh: (-1.0, 1.0)}
SATURATION_MARGIN = 0.01
"""How near to its bounds a unit counts as saturated."""


def is_monitored(step: int) -> bool:
    """Tell whether a step is monitored: every step at first, then ever fewer, so that monitoring costs little.

    >>> [s for s in (0, 19, 25, 30, 1005, 1100) if is_monitored(s)]
    [0, 19, 30, 1100]
    """
    return step < 20 or step % (10 if step < 1000 else 100) == 0


def monitor_steps(
    network: nn.Module, steps: Iterable[StepResult], *, first: int
) -> Iterator[tuple[StepResult, dict[str, Any]]]:
    """Yield each step with the layer statistics of it, counted from the step ``first``."""
    watch = LayerMonitor(network)
    watch.begin_step(first)
    try:
        for number, step in enumerate(steps, first):
            yield step, watch.end_step(number)
            watch.begin_step(number + 1)
    finally:
        watch.remove_hooks()


class LayerMonitor:
    """Monitor the layers of a network on selected steps, without a change of the results.

    Call ``before(step)`` ahead of each step and ``after(step)`` behind it. Gradients are those that the optimiser
    used; activations are counted by forward hooks, which are removed again.
    """

    def __init__(self, network: nn.Module) -> None:
        self.weights = [(n, p) for n, p in network.named_parameters() if p.requires_grad and p.ndim > 1]
        modules: list[tuple[str, nn.Module]] = list(network.named_modules())
        self.activations = [(name, m) for name, m in modules if isinstance(m, (*RECTIFIER_LAYERS, *BOUNDED))]
        self.previous_weights: list[Tensor] = []
        self.hooks: list[Any] = []
        self.dead: dict[str, float] = {}
        self.saturated: dict[str, float] = {}

    def begin_step(self, step: int) -> None:
        """Copy the weights and install the hooks, if the step is monitored."""
        if not is_monitored(step):
            return
        self.dead, self.saturated = {}, {}
        with torch.no_grad():
            self.previous_weights = [p.detach().clone() for _, p in self.weights]
        for name, module in self.activations:
            self.hooks.append(module.register_forward_hook(self.activation_hook(name, module)))

    def activation_hook(self, name: str, module: nn.Module) -> Any:
        """Make a forward hook that counts the dead or saturated units of a layer."""

        def count_units(_: nn.Module, __: Any, output: Tensor) -> None:
            said = output.detach()
            axes = [0, *range(2, said.ndim)]
            if isinstance(module, RECTIFIER_LAYERS):
                self.dead[name] = float((said.amax(axes) <= 0).float().mean())
                return
            low, high = next(v for k, v in BOUNDED.items() if isinstance(module, k))
            is_near = (said - low < SATURATION_MARGIN * (high - low)) | (high - said < SATURATION_MARGIN * (high - low))
            self.saturated[name] = float(is_near.float().mean())

        return count_units

    def remove_hooks(self) -> None:
        """Remove the hooks."""
        for hook in self.hooks:
            hook.remove()
        self.hooks = []

    @torch.no_grad()
    def end_step(self, step: int) -> dict[str, Any]:
        """Give what was seen: for each layer the norms of its gradient, its weights and its update; shares of units.

        Empty where the step was not due. The ``update`` is the root mean square of the change, times the root of how
        many inputs a unit has: 1 means that the step alone can change what a unit says by as much as it says.
        """
        self.remove_hooks()
        if not is_monitored(step) or not self.previous_weights:
            return {}
        weights = [p.detach() for _, p in self.weights]
        moved = torch._foreach_norm(torch._foreach_sub(weights, self.previous_weights))
        sizes = torch._foreach_norm(self.previous_weights)
        self.previous_weights = []
        layers: dict[str, dict[str, float]] = {}
        for (name, p), size, move in zip(self.weights, sizes, moved, strict=True):
            if p.grad is not None:
                layers[name] = {
                    "gradient": float(torch.linalg.vector_norm(p.grad)),
                    "weight": float(size),
                    "update": float(move) / sqrt(p.numel()) * sqrt(p[0].numel()),
                }
        shares: Mapping[str, Mapping[str, float]] = {"dead": self.dead, "saturated": self.saturated}
        return {"layers": layers} | {k: dict(v) for k, v in shares.items() if v}
