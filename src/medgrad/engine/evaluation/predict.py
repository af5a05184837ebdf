"""Answer about new images, each answer in the format in which the image came."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ...data import Case, Grid, Image
from ...data.dicom.write.equipment import Algorithm
from ...inference.pipeline.inputs import inputs_of as inputs_of
from ...inference.pipeline.memory_estimate import MemoryCost
from ...inference.pipeline.memory_limit import peak_memory, prepare_lean
from ...inference.pipeline.pipeline import Prediction, Predictor, answered, whole
from ...inference.pipeline.write_dicom import CHANCES
from ...inference.sliding_window import without_truth
from ...prepare import prepare, restore
from ..runs.run import Trained
from .infer import answer_prepared
from .probabilities import probability_maps


def predict(trained: Trained, path: Path, out: Path, *, kind: str = "", ram: int = 0) -> Iterator[Prediction]:
    """Answer about every input, write each answer, and yield what happened; one bad file does not stop the others.

    With ``ram``, the process holds no more than so many bytes: what would take more is refused before it begins.
    """
    task = trained.task
    asking = (
        whole(lambda case: probability_maps(trained, case)) if kind in CHANCES else in_parts(trained, lean=bool(ram))
    )
    maker = Algorithm(f"{task.kind} by {trained.recipe.model.get('name', 'medgrad')}", trained.weights)
    return answered(
        asking,
        path,
        out,
        kind=kind,
        task=task.kind,
        channels=task.channels,
        dims=task.dims,
        maker=maker,
        ram=ram,
        takes=trained.takes,
    )


def in_parts(trained: Trained, *, lean: bool = False) -> Predictor:
    """Tell how a run answers, part by part."""

    def ready(box: list[Case]) -> tuple[Case, Any]:
        box[0] = without_truth(box[0])
        return prepare_lean(box, trained.steps) if lean else prepare(box.pop(), trained.steps)

    def say(case: Case, sums: int) -> Any:
        return answer_prepared(
            trained.models,
            trained.task,
            case,
            patch=trained.recipe.training.patch,
            place=trained.place,
            how=trained.recipe.answering,
            sums=sums,
        )

    def back(said: Any, grids: Any) -> Any:
        return restore(said, trained.steps, grids)

    return Predictor(ready, say, back, lambda: taken_by(trained, say))


def taken_by(trained: Trained, say: Any) -> MemoryCost:
    """Measure what a window takes, by answering about one that is made up."""
    task, patch = trained.task, tuple(trained.recipe.training.patch)
    names = task.channels or ("image",)
    planes = planes_of(trained, patch) // len(names)
    shape = patch if planes == 1 else (*patch, planes)
    images = {name: Image(np.zeros(shape, np.float32), Grid.of(patch)) for name in names}
    say(Case("made up", images), 0)  # what is only made once
    window = peak_memory(lambda: say(Case("made up", images), 0))
    channels = task.outputs.channels if task.outputs.shape == "dense" else 0
    return MemoryCost(window, patch, channels, 1 if channels <= 256 else 4, trained.steps)


def planes_of(trained: Trained, patch: tuple[int, ...]) -> int:
    """Count the channels that a network takes, by the shape of its first weights."""
    first = next(p for p in trained.models[0].parameters() if p.ndim > 1)
    return max(1, first.shape[1] // (prod(patch) if first.ndim == 2 else 1))
