"""Knowledge distillation: train on the outputs of a teacher network as well as on the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...tasks import Batch, Inputs, Output, Task, full_resolution
from ._gradients import Gradients, total_loss
from .plain import plain

Teacher = Callable[[Inputs], Tensor]
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
    """Train on the truth and, with weight ``weight``, on the outputs of the network of a ``run``. Hinton et al., 2015.

    Class probabilities are softened by ``temperature`` first. The teacher answers about the first ``share`` of
    each batch, for it may be much slower than the student. Without a run this changes nothing. ``teacher`` opens
    a run.
    """
    make = inner or plain()
    if not run:
        return make
    if teacher is None:
        raise ValueError("There is nothing here that opens the run of a teacher.")
    ask_teacher = teacher(run)

    def gradients(model: nn.Module, task: Task, batch: Batch) -> dict[str, float]:
        if not batch.size:
            return make(model, task, batch)
        count = ceil(share * batch.size)
        with torch.no_grad():
            teacher_output = ask_teacher(batch.part(slice(count)).inputs)
        distillation_task = cast(Task, DistillationTask(task, weight, temperature, count / batch.size))
        with_teacher = replace(batch, target={**batch.target, DISTILLED: teacher_output})
        terms = make(model, distillation_task, with_teacher)
        return terms | {
            "distilled/loss": terms[DISTILLED] / max(weight, 1e-9),
            "distilled/own": total_loss(terms) - terms[DISTILLED],
        }

    return gradients


class DistillationTask:
    """A task whose loss is mixed with the distillation loss from the teacher's output in the target.

    The teacher's output covers the first ``share`` of a batch; in a part of the batch it may cover more or
    nothing.
    """

    def __init__(self, task: Task, weight: float, temperature: float, share: float = 1.0) -> None:
        self.task, self.weight, self.temperature, self.share = task, weight, temperature, share

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)

    def loss(self, output: Output, target: dict[str, Tensor]) -> dict[str, Tensor]:
        """Give the terms of the task, and that of the teacher."""
        own = self.task.loss(output, {k: v for k, v in target.items() if k != DISTILLED})
        teacher_output, output_tensor = target[DISTILLED], full_resolution(output)
        student_output = output_tensor[: len(teacher_output)]
        distance = (
            self.task.distillation_loss(student_output, teacher_output, temperature=self.temperature)
            if len(teacher_output)
            else 0.0 * output_tensor.sum()
        )
        distance = distance * (len(teacher_output) / len(output_tensor) / self.share)
        return {**{k: (1 - self.weight) * v for k, v in own.items()}, DISTILLED: self.weight * distance}


THIS = distilled
