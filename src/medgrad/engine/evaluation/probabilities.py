"""How likely each label is in every element of a case, by a run that segments."""

from __future__ import annotations

import torch
from torch import Tensor

from ...data import Case, Image
from ...errors import SettingError
from ...inference.sliding_window import sliding_window, without_truth
from ...prepare import prepare, restore
from ...tasks.segmentation import Segmentation
from ..runs.run import Trained
from .infer import TENSORS, forward


@torch.inference_mode()
def probability_maps(trained: Trained, case: Case) -> Image:
    """Give the chance of each label, (*shape, labels), on the case's own grid.

    Where a case was resampled, chances are brought back by straight lines between their places. Every window is
    looked at, since a chance is asked for where nothing was found as well.
    """
    task, how = trained.task, trained.recipe.answering
    if not isinstance(task, Segmentation):
        raise SettingError(f"A run of the task {task.kind!r} gives no chances of labels. Leave --format out.")
    for model in trained.models:
        model.eval()

    def look(box: Case) -> Tensor:
        return forward(trained.models, task.encode(box).inputs[None], trained.place, how.flips)[0]

    prepared, grids = prepare(without_truth(case), trained.steps)
    said = sliding_window(
        look, task.chances, prepared, patch=trained.recipe.training.patch, overlap=how.overlap, arrays=TENSORS
    )
    return restore(said, trained.steps, grids)
