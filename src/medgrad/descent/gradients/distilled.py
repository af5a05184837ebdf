"""Taught: also from what a better network says of the same images."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...tasks import Batch, Output, Task, full_resolution
from ._gradients import Gradients, loss_of
from .plain import plain

Teacher = Callable[[Tensor], Tensor]
DISTILLED = "distilled"


def distilled(
    *,
    run: str = "",
    weight: float = 0.5,
    temperature: float = 2.0,
    share: float = 1.0,
    teacher: Callable[[str], Teacher] | None = None,
    inner: Gradients | None = None,
) -> Gradients:
    """Learn from the truth and, by ``weight``, from the answers of the network of a ``run``.

    What a teacher says holds more than the truth: which errors are near ones. Chances are softened by a
    ``temperature`` first. Hinton et al., 2015. Of each batch the teacher answers only about the first samples, a
    ``share`` of them, for it may be much slower than its pupil. Without a run it changes nothing. ``teacher`` opens a
    run.
    """
    make = inner or plain()
    if not run:
        return make
    if teacher is None:
        raise ValueError("There is nothing here that opens the run of a teacher.")
    says = teacher(run)

    def gradients(model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        count = ceil(share * len(batch.inputs))
        with torch.no_grad():
            said = says(batch.inputs[:count])
        pupil = cast(Task, DistillationTask(task, weight, temperature, count / len(batch.inputs)))
        told = make(model, pupil, Batch(batch.inputs, {**batch.target, DISTILLED: said}, batch.grids))
        return told | {
            "distilled/loss": told[DISTILLED] / max(weight, 1e-9),
            "distilled/own": loss_of(told) - told[DISTILLED],
        }

    return gradients


class DistillationTask:
    """A task of which a part of the loss is how far an output is from what the target says was ``taught``.

    That is about the first ``share`` of a batch; of a part of the batch it may be about more of it, or about nothing.
    """

    def __init__(self, task: Task, weight: float, temperature: float, share: float = 1.0) -> None:
        self.task, self.weight, self.temperature, self.share = task, weight, temperature, share

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)

    def loss(self, output: Output, target: dict[str, Tensor]) -> dict[str, Tensor]:
        """Give the terms of the task, and that of the teacher."""
        own = self.task.loss(output, {k: v for k, v in target.items() if k != DISTILLED})
        said, all_of_it = target[DISTILLED], full_resolution(output)
        shown = all_of_it[: len(said)]
        apart = (
            self.task.distillation_loss(shown, said, temperature=self.temperature)
            if len(said)
            else 0.0 * all_of_it.sum()
        )
        apart = apart * (len(said) / len(all_of_it) / self.share)
        return {**{k: (1 - self.weight) * v for k, v in own.items()}, DISTILLED: self.weight * apart}


THIS = distilled
