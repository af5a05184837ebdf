"""Optimise a transform on one pair of images: Adam first, then L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .. import registry
from ..descent.gradients import Gradients, build_gradients
from ..descent.stopping import build_rules
from ..engine.training.loop import constant, train
from ..tasks import Batch, Task
from ..tasks.registration import Registration

ITERATIONS = 5
"""Of L-BFGS in a step: after each step it is asked whether the loss still falls."""


Penalty = Callable[[], torch.Tensor]


def get_near(
    model: nn.Module, task: Registration, batch: Batch, *, steps: int, rate: float, penalty: Penalty | None = None
) -> None:
    """Take so many steps of Adam with a falling rate."""
    optimiser = registry.find("descent.optimisers", "adam")(list(model.named_parameters()), rate=rate)
    gradients = penalised(penalty)
    schedule = lambda done: 1 - 0.95 * done  # noqa: E731
    for _ in taken(model, task, batch, optimiser, steps=steps, gradients=gradients, schedule=schedule):
        pass


def converge(
    model: nn.Module,
    task: Registration,
    batch: Batch,
    *,
    share: float,
    most: int,
    penalty: Penalty | None = None,
) -> None:
    """Run L-BFGS until a step of five iterations lowers the loss by less than a ``share``, or for ``most`` steps."""
    if most < 1:
        return
    settings = {"iterations": ITERATIONS, "calls": 2 * ITERATIONS, "history": 8}
    optimiser = registry.find("descent.optimisers", "lbfgs")(list(model.named_parameters()), rate=1.0, **settings)
    rule = build_rules([{"name": "relative_decrease", "share": share, "window": 1}])[0]
    gradients = penalised(penalty)
    for step in taken(model, task, batch, optimiser, steps=most, gradients=gradients):
        if rule({"step": step.number, "loss": step.told}):
            return


def taken(
    model: nn.Module,
    task: Registration,
    batch: Batch,
    optimiser: torch.optim.Optimizer,
    *,
    steps: int,
    gradients: Gradients,
    schedule: Callable[[float], float] = constant,
) -> Any:
    """Run the training loop on one batch."""
    batches = (batch for _ in range(steps))
    found: Any = train(model, task, batches, optimiser=optimiser, gradients=gradients, schedule=schedule, steps=steps)
    return found


def penalised(penalty: Penalty | None) -> Gradients:
    """Make gradients of the task's loss plus a penalty on the model."""
    if penalty is None:
        return build_gradients(())

    def gradients(model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        terms = {**task.loss(model(batch.inputs), batch.target), "roughness": penalty()}
        torch.stack([t.float() for t in terms.values()]).sum().backward()
        return {name: float(term.detach()) for name, term in terms.items()}

    return gradients
