"""Judge images by what a run that segments says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ... import metrics
from ...data import Case, Image, LabelMap
from ...errors import SettingError
from ...tasks import Task
from ..runs.run import TrainedRun, open_run
from .infer import answer_case

IMAGE_ANSWERS = ("image", "synthetic_image")


def open_downstream(folder: Path | str, task: Task, *, device: str | None = None) -> TrainedRun:
    """Open a run that segments one image, to judge the images that a task answers; raise where either does not fit."""
    if task.outputs.answer not in IMAGE_ANSWERS or task.makes_images():
        raise SettingError(
            f"--downstream judges images that a run answered about others, but this run is of {task.kind}. "
            "Leave it out."
        )
    downstream = open_run(folder, device=device)
    theirs = downstream.task
    if theirs.outputs.answer != "label_map" or len(theirs.channels) > 1 or theirs.dims != task.dims:
        raise SettingError(
            f"--downstream {str(folder)!r} is a run of {theirs.kind} on {max(1, len(theirs.channels))} images of "
            f"{theirs.dims} axes. Give one that segments one image of {task.dims} axes."
        )
    return downstream


def downstream_row(downstream: TrainedRun, case: Case, answer: Image) -> dict[str, Any]:
    """Give the Dice of what a run says of an answer and of the image shown, each against what it says of the truth."""
    truth, shown = case.truth, next(iter(case.images.values()))
    if not isinstance(truth, Image):
        return {}
    wanted = segmented(downstream, case, truth)
    said = segmented(downstream, case, answer)
    row = {"downstream_dice": mean_dice(wanted, said)}
    if shown.channels == truth.channels and np.isfinite(shown.array).all():
        row["downstream_dice_before"] = mean_dice(wanted, segmented(downstream, case, shown))
    return row


def segmented(downstream: TrainedRun, case: Case, image: Image) -> LabelMap:
    """Give what a run says of an image of a case."""
    channel = (downstream.task.channels or ("image",))[0]
    found: LabelMap = answer_case(downstream, Case(case.id, {channel: image}))
    return found


def mean_dice(wanted: LabelMap, said: LabelMap) -> float | None:
    """Give the Dice averaged over the labels that are wanted; None where there are none."""
    value = metrics.judge(["dice"], wanted, said).get("dice/mean")
    return None if value is None else float(value)
