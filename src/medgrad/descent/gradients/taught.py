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
TAUGHT = "taught"


def taught(
    *,
    run: str = "",
    weight: float = 0.5,
    warmth: float = 2.0,
    share: float = 1.0,
    teacher: Callable[[str], Teacher] | None = None,
    inner: Gradients | None = None,
) -> Gradients:
    """Learn from the truth and, by ``weight``, from the answers of the network of a ``run``.

    What a teacher says holds more than the truth: which errors are near ones. Chances are softened by ``warmth`` first.
    Hinton et al., 2015. Of each batch the teacher answers only about the first samples, a ``share`` of them, for it may
    be much slower than its pupil. Without a run it changes nothing. ``teacher`` opens a run.
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
        pupil = cast(Task, DistillationTask(task, weight, warmth, count / len(batch.inputs)))
        told = make(model, pupil, Batch(batch.inputs, {**batch.target, TAUGHT: said}, batch.grids))
        return told | {"taught/loss": told[TAUGHT] / max(weight, 1e-9), "taught/own": loss_of(told) - told[TAUGHT]}

    return gradients


class DistillationTask:
    """A task of which a part of the loss is how far an output is from what the target says was ``taught``.

    That is about the first ``share`` of a batch; of a part of the batch it may be about more of it, or about nothing.
    """

    def __init__(self, task: Task, weight: float, warmth: float, share: float = 1.0) -> None:
        self.task, self.weight, self.warmth, self.share = task, weight, warmth, share

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)

    def loss(self, output: Output, target: dict[str, Tensor]) -> dict[str, Tensor]:
        """Give the terms of the task, and that of the teacher."""
        own = self.task.loss(output, {k: v for k, v in target.items() if k != TAUGHT})
        said, all_of_it = target[TAUGHT], full_resolution(output)
        shown = all_of_it[: len(said)]
        apart = self.task.unlike(shown, said, warmth=self.warmth) if len(said) else 0.0 * all_of_it.sum()
        apart = apart * (len(said) / len(all_of_it) / self.share)
        return {**{k: (1 - self.weight) * v for k, v in own.items()}, TAUGHT: self.weight * apart}


THIS = taught
