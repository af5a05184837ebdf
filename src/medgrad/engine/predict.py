"""Answer about new images, each answer in the format in which the image came."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..data import Case
from ..data.formats._dicom_maker import Maker
from ..runtime.inputs import inputs_of as inputs_of
from ..runtime.put import Answered as Answered
from ..runtime.put import answered
from ..runtime.put import in_short as in_short
from ..runtime.put import put as put
from ..runtime.put_dicom import CHANCES
from .answer import answer
from .chances import chances
from .run import Trained


def predict(trained: Trained, path: Path, out: Path, *, kind: str = "") -> Iterator[Answered]:
    """Answer about every input, write each answer, and yield what happened; one bad file does not stop the others."""
    task = trained.task

    def ask(case: Case) -> Any:
        if kind in CHANCES:
            return chances(trained, case)
        return answer(
            trained.models,
            task,
            case,
            steps=trained.steps,
            patch=trained.recipe.training.patch,
            place=trained.place,
            how=trained.recipe.answering,
        )

    maker = Maker(f"{task.kind} by {trained.recipe.model.get('name', 'medgrad')}", trained.weights)
    return answered(ask, path, out, kind=kind, task=task.kind, channels=task.channels, dims=task.dims, maker=maker)
