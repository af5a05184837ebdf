"""The training loop, a generator that yields what happened at each step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ...descent.gradients import Gradients, total_loss
from ...errors import Diverged
from ...tasks import Batch, Task
from ..compute.device import seed_generators

MAX_SKIPPED_STEPS = 20


@dataclass(frozen=True)
class TrainingStep:
    """One training step: its loss terms and, under names with a slash, other monitored values.

    The ``seconds`` are those of making the batch and of training on it.
    """

    number: int
    terms: dict[str, float]
    rate: float
    seconds: float
    is_skipped: bool = False

    @property
    def loss(self) -> float:
        """The sum of the loss terms."""
        return total_loss(self.terms)


@dataclass
class EMA:
    """Exponential moving average of a network's weights, which generalises better than the last weights.

    The decay grows from nothing to its full value, so that the first steps are soon forgotten.
    """

    network: nn.Module
    decay: float
    weights: dict[str, Tensor] = field(default_factory=dict)

    @torch.no_grad()
    def update(self, step_number: int) -> None:
        """Update the average with the weights after a step."""
        state = self.network.state_dict()
        if not self.weights:
            self.weights = {k: v.detach().clone() for k, v in state.items()}
            return
        share = 1 - min(self.decay, (1 + step_number) / (10 + step_number))
        floats = [k for k, v in state.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.weights[k] for k in floats], [state[k] for k in floats], share)
        for k in state.keys() - set(floats):
            self.weights[k].copy_(state[k])


def constant(fraction_done: float) -> float:
    """Return the factor of a constant learning rate schedule."""
    del fraction_done
    return 1.0


def train(
    network: nn.Module,
    task: Task,
    batches: Iterable[Batch],
    *,
    optimiser: torch.optim.Optimizer,
    gradients: Gradients,
    schedule: Callable[[float], float] = constant,
    n_steps: int = 100,
    schedule_position: Callable[[int], float] | None = None,
    first_step: int = 0,
    seed: int = 0,
    ema: EMA | None = None,
) -> Iterator[TrainingStep]:
    """Train a network, and yield what happened at each step; stop iterating to stop training.

    ``batches`` start with that of step ``first_step``. ``schedule_position`` gives the position in the schedule of a
    step, from 0 to 1; by default it is even over the ``n_steps``. A step with a loss or gradient that is not finite
    changes nothing and is marked as skipped; many in a row raise an error. Randomness in the network (dropout) is
    seeded by seed and step.
    """
    for group in optimiser.param_groups:
        group.setdefault("base_rate", group["lr"])
    n_skipped = 0
    began = time.perf_counter()
    for number, batch in enumerate(batches, first_step):
        if number >= n_steps:
            return
        factor = schedule(schedule_position(number) if schedule_position else number / n_steps)
        for group in optimiser.param_groups:
            group["lr"] = group["base_rate"] * factor
        seed_generators(hash((seed, number)) % 2**31)
        network.train()
        terms: dict[str, float] = {}
        try:
            optimiser.step(make_closure(network, task, batch, optimiser, gradients, terms))
            n_skipped = 0
        except Diverged:
            n_skipped += 1
            optimiser.zero_grad()
            if ema is not None:
                restore_buffers(ema)
            if n_skipped >= MAX_SKIPPED_STEPS:
                raise Diverged(
                    f"The loss was not a finite number for {MAX_SKIPPED_STEPS} steps on end. "
                    "Lower the rate under [optimiser]."
                ) from None
        if ema is not None and not n_skipped:
            ema.update(number)
        rate = float(optimiser.param_groups[0]["lr"])
        yield TrainingStep(number, terms, rate, time.perf_counter() - began, is_skipped=n_skipped > 0)
        began = time.perf_counter()


def make_closure(
    network: nn.Module,
    task: Task,
    batch: Batch,
    optimiser: torch.optim.Optimizer,
    gradients: Gradients,
    terms: dict[str, float],
) -> Callable[[], Any]:
    """Return the optimiser's closure, which computes the loss and its gradients at the current weights."""

    def evaluate() -> Tensor:
        optimiser.zero_grad()
        with torch.enable_grad():
            terms.clear()
            terms.update(gradients(network, task, batch))
        if not all(math.isfinite(v) for v in terms.values()):
            raise Diverged(f"The loss is not a finite number: {terms}.")
        return torch.tensor(total_loss(terms))

    return evaluate


@torch.no_grad()
def restore_buffers(ema: EMA) -> None:
    """Restore running statistics that a bad batch has made infinite or nan from their average."""
    for name, buffer in ema.network.named_buffers():
        if buffer.is_floating_point() and not buffer.isfinite().all():
            kept = ema.weights.get(name)
            buffer.copy_(kept) if kept is not None else buffer.fill_(float(name.endswith("var")))
