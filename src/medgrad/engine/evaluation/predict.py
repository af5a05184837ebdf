"""Predict new images with a run, and write each answer in the format of its image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...data.dicom.write.equipment import Algorithm
from ...inference.pipeline.pipeline import Prediction, predict_all
from ..runs.run import TrainedRun
from .infer import predictor_of


def predict_with_run(
    trained: TrainedRun, path: Path, out: Path | None, *, file_format: str = "", memory: int = 0
) -> Iterator[Prediction]:
    """Predict every input, write each answer, and yield the results; one bad file does not stop the others.

    Without ``out`` nothing is written. With a memory limit, the process holds at most so many bytes: an input that
    would need more is refused beforehand.
    """
    task = trained.task
    return predict_all(
        predictor_of(trained, file_format=file_format),
        path,
        out,
        task=task.kind,
        dims=task.dims,
        file_format=file_format,
        algorithm=Algorithm(f"{task.kind} by {trained.recipe.model.get('name', 'medgrad')}", trained.weight_files),
        memory=memory,
        takes=trained.input_spec,
    )
