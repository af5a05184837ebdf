"""L-BFGS: quasi-Newton steps with a line search."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ._optimiser import Closure, NamedParameters, parameters_with_gradient


class LBFGS(torch.optim.LBFGS):
    """torch's own, made fit for batches, decay, channels-last weights and a closure that fails."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        if self.param_groups:
            raise ValueError(
                "L-BFGS learns the curvature of all parameters together, so they are one group, but a second came. "
                "Give them all at once, or choose another optimiser."
            )
        super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for p, kept in self.state.items():
            self.state[p] = clone_state(kept)

    @torch.no_grad()
    def step(self, closure: Closure) -> Any:  # type: ignore[override]
        if not self.param_groups[0]["lr"]:
            return closure()  # nowhere along the line to search
        params: list[Tensor] = self.param_groups[0]["params"]
        before = [p.clone() for p in params]
        losses: list[Any] = []
        try:
            super().step(lambda: self.loss_with_decay(closure, losses))
        except BaseException:
            for p, old in zip(params, before, strict=True):
                p.copy_(old)
            self.state.clear()  # half of it is of the step that failed
            raise
        return losses[0]

    def loss_with_decay(self, closure: Closure, losses: list[Any]) -> float:
        """Fill the gradients of loss and decay together, and give their sum."""
        losses.append(closure())
        total = float(losses[-1])
        with torch.no_grad():
            for group, p, gradient in parameters_with_gradient(self):
                if p.ndim > 1 and group["weight_decay"]:
                    gradient = gradient + group["weight_decay"] * p
                    total += group["weight_decay"] / 2 * float(p.square().sum())
                p.grad = gradient.contiguous()  # torch goes through it in plain order
        if len(losses) == 1:
            self.forget_previous_batch()
        return total

    def forget_previous_batch(self) -> None:
        """Have the slope that the last step ended with count as this one, so that no curvature comes from both.

        The last step's may be that of another batch, and the difference would be the batches', not the curvature's.
        """
        params = self.param_groups[0]["params"]
        kept = self.state[params[0]]
        if "prev_flat_grad" in kept:
            kept["prev_flat_grad"] = flatten_gradients(params)


def clone_state(value: Any) -> Any:
    """Give a state in memory of its own, from its beginning on.

    In a file tensors begin anywhere, and products of tensors that do not begin alike differ in their last bit.
    """
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {k: clone_state(v) for k, v in value.items()}
    return [clone_state(v) for v in value] if isinstance(value, list) else value


def flatten_gradients(params: list[Tensor]) -> Tensor:
    """Give all gradients end to end, zeros where there is none."""
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in params])


def lbfgs(
    named: NamedParameters,
    *,
    rate: float = 1.0,
    decay: float = 0.0,
    iterations: int = 4,
    history: int = 10,
    calls: int = 10,
) -> torch.optim.Optimizer:
    """Liu and Nocedal, Mathematical Programming 1989; torch's own, with a line search that ends where Wolfe's strong
    conditions hold (Nocedal and Wright, Numerical Optimization 2006, algorithm 3.5).

    w <- w - t * H g, with t tried from ``rate``, and H the inverse curvature by the last ``history`` pairs of steps s
    and differences of slope y: H <- (1 - r s y') H (1 - r y s') + r s s', r = 1 / y's, from H = s'y / y'y. Decay is
    part of the function, as decay / 2 * |w|^2 of what has more than one axis.

    One step makes ``iterations`` of these on the same batch, and learns only from pairs within it. It is for the whole
    set or large batches. If the closure fails, the weights are put back and the pairs are forgotten.

    One step costs at most about ``calls`` gradients, 2 * history + 6 times as much memory again as the weights, and
    four passes over the weights for each pair in each iteration: seconds on a processor for tens of millions of them.
    """
    if iterations < 2:
        raise ValueError(f"L-BFGS learns from the second iteration on a batch, but 'iterations' is {iterations}.")
    params = [p for _, p in named if p.requires_grad]
    return LBFGS(
        [{"params": params, "weight_decay": decay}],
        lr=rate,
        max_iter=iterations,
        max_eval=calls,
        history_size=history,
        line_search_fn="strong_wolfe",
    )


THIS = lbfgs
