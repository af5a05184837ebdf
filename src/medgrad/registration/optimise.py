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
from ..tasks import Batch, Task, run_network
from ..tasks.registration import Registration

ITERATIONS_PER_STEP = 5
"""Of L-BFGS in a step: after each step it is asked whether the loss still falls."""


Penalty = Callable[[], torch.Tensor]


def run_adam(
    model: nn.Module, task: Registration, batch: Batch, *, steps: int, rate: float, penalty: Penalty | None = None
) -> None:
    """Take so many steps of Adam with a falling rate."""
    optimiser = registry.find("descent.optimisers", "adam")(list(model.named_parameters()), rate=rate)
    gradients = with_penalty(penalty)
    schedule = lambda done: 1 - 0.95 * done  # noqa: E731
    for _ in run_training_loop(model, task, batch, optimiser, steps=steps, gradients=gradients, schedule=schedule):
        pass


def run_lbfgs(
    model: nn.Module,
    task: Registration,
    batch: Batch,
    *,
    min_decrease: float,
    max_steps: int,
    penalty: Penalty | None = None,
) -> None:
    """Run L-BFGS until five iterations lower the loss by less than ``min_decrease``, at most ``max_steps``."""
    if max_steps < 1:
        return
    settings = {"iterations": ITERATIONS_PER_STEP, "calls": 2 * ITERATIONS_PER_STEP, "history": 8}
    optimiser = registry.find("descent.optimisers", "lbfgs")(list(model.named_parameters()), rate=1.0, **settings)
    rule = build_rules([{"name": "relative_decrease", "share": min_decrease, "window": 1}])[0]
    gradients = with_penalty(penalty)
    for step in run_training_loop(model, task, batch, optimiser, steps=max_steps, gradients=gradients):
        if rule({"step": step.number, "loss": step.terms}):
            return


def run_training_loop(
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
    found: Any = train(model, task, batches, optimiser=optimiser, gradients=gradients, schedule=schedule, n_steps=steps)
    return found


def with_penalty(penalty: Penalty | None) -> Gradients:
    """Make gradients of the task's loss plus a penalty on the model."""
    if penalty is None:
        return build_gradients(())

    def gradients(model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        terms = {**task.loss(run_network(model, batch.inputs), batch.target), "roughness": penalty()}
        torch.stack([t.float() for t in terms.values()]).sum().backward()
        return {name: float(term.detach()) for name, term in terms.items()}

    return gradients
