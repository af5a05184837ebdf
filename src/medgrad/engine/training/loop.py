"""The training loop, a generator that yields what happened at each step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ...descent.gradients import Gradients, loss_of
from ...errors import Diverged
from ...tasks import Batch, Task
from ..compute.device import seed_generators

MOST_SKIPPED = 20


@dataclass(frozen=True)
class Step:
    """One training step: its loss terms and, under names with a slash, other monitored values.

    The ``seconds`` are those of making the batch and of training on it.
    """

    number: int
    told: dict[str, float]
    rate: float
    seconds: float
    skipped: bool = False

    @property
    def loss(self) -> float:
        """The sum of the loss terms."""
        return loss_of(self.told)


@dataclass
class EMA:
    """Exponential moving average of a network's weights, which generalises better than the last weights.

    The decay grows from nothing to its full value, so that the first steps are soon forgotten.
    """

    network: nn.Module
    memory: float
    weights: dict[str, Tensor] = field(default_factory=dict)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average with the weights after a step."""
        state = self.network.state_dict()
        if not self.weights:
            self.weights = {k: v.detach().clone() for k, v in state.items()}
            return
        share = 1 - min(self.memory, (1 + step) / (10 + step))
        floats = [k for k, v in state.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.weights[k] for k in floats], [state[k] for k in floats], share)
        for k in state.keys() - set(floats):
            self.weights[k].copy_(state[k])


def constant(done: float) -> float:
    """Return the factor of a constant learning rate schedule."""
    del done
    return 1.0


def train(
    model: nn.Module,
    task: Task,
    batches: Iterable[Batch],
    *,
    optimiser: torch.optim.Optimizer,
    gradients: Gradients,
    schedule: Callable[[float], float] = constant,
    steps: int = 100,
    progress: Callable[[int], float] | None = None,
    first: int = 0,
    seed: int = 0,
    average: EMA | None = None,
) -> Iterator[Step]:
    """Train a network, and yield what happened at each step; stop iterating to stop training.

    ``batches`` start with that of step ``first``. ``progress`` gives the position in the schedule of a step,
    from 0 to 1; by default it is even over the ``steps``. A step with a loss or gradient that is not finite
    changes nothing and is marked as skipped; many in a row raise an error. Randomness in the network (dropout)
    is seeded by seed and step.
    """
    for group in optimiser.param_groups:
        group.setdefault("base_rate", group["lr"])
    in_a_row = 0
    began = time.perf_counter()
    for number, batch in enumerate(batches, first):
        if number >= steps:
            return
        factor = schedule(progress(number) if progress else number / steps)
        for group in optimiser.param_groups:
            group["lr"] = group["base_rate"] * factor
        seed_generators(hash((seed, number)) % 2**31)
        model.train()
        told: dict[str, float] = {}
        try:
            optimiser.step(closure(model, task, batch, optimiser, gradients, told))
            in_a_row = 0
        except Diverged:
            in_a_row += 1
            optimiser.zero_grad()
            if average is not None:
                restore_buffers(average)
            if in_a_row >= MOST_SKIPPED:
                raise Diverged(
                    f"The loss was not a finite number for {MOST_SKIPPED} steps on end. "
                    "Lower the rate under [optimiser]."
                ) from None
        if average is not None and not in_a_row:
            average.update(number)
        rate = float(optimiser.param_groups[0]["lr"])
        yield Step(number, told, rate, time.perf_counter() - began, skipped=in_a_row > 0)
        began = time.perf_counter()


def closure(
    model: nn.Module,
    task: Task,
    batch: Batch,
    optimiser: torch.optim.Optimizer,
    gradients: Gradients,
    told: dict[str, float],
) -> Callable[[], Any]:
    """Return the optimiser's closure, which computes the loss and its gradients at the current weights."""

    def again() -> Tensor:
        optimiser.zero_grad()
        with torch.enable_grad():
            told.clear()
            told.update(gradients(model, task, batch))
        if not all(math.isfinite(v) for v in told.values()):
            raise Diverged(f"The loss is not a finite number: {told}.")
        return torch.tensor(loss_of(told))

    return again


@torch.no_grad()
def restore_buffers(average: EMA) -> None:
    """Restore running statistics that a bad batch has made infinite or nan from their average."""
    for name, buffer in average.network.named_buffers():
        if buffer.is_floating_point() and not buffer.isfinite().all():
            kept = average.weights.get(name)
            buffer.copy_(kept) if kept is not None else buffer.fill_(float(name.endswith("var")))
