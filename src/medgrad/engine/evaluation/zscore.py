"""Judge the plain z-score beside a network that finds anomalies: on the same images, smoothed alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...answers.anomaly_map import size_of_difference
from ...data import AnomalyMap, Case
from ...inference.encode import stack_channels
from ...inference.predictor import Predictor
from ...tasks import Task
from ...trust.voxel_zscore import fit_voxel_zscore
from ..loading.cache import PreparedCase
from ..runs.run import Run, TrainedRun
from ..runs.zscore_file import write_zscore
from .evaluate import JudgedCase


def fit_zscore(run: Run, task: Task, training_cases: Sequence[PreparedCase]) -> None:
    """Fit the z-score to prepared training images, and write it into the run, where the task finds anomalies."""
    if task.outputs.answer != "anomaly_map" or not training_cases:
        return
    shapes = [ready.case.grid.shape for ready in training_cases]
    found = fit_voxel_zscore((counted_channels(task, ready.case) for ready in training_cases), shapes)
    write_zscore(run.zscore_file, found)
    run.write_facts(zscore={"by_element": found.mean is not None, "images": len(training_cases)})


def counted_channels(task: Task, case: Case) -> Any:
    """Give the channels of a prepared case that are held to what was expected."""
    return stack_channels(case, task.channels)[: task.outputs.channels]


def beside_zscore(trained: TrainedRun, made: Predictor, ready: PreparedCase, judged: JudgedCase) -> JudgedCase:
    """Give a judged case with the figures of the z-score, each by its name and ``_zscore``; as it is without one."""
    if not trained.zscores:
        return judged
    image = counted_channels(trained.task, ready.case).astype(np.float64)
    mean = np.mean([zscore.of(image) for zscore in trained.zscores], axis=0)
    found = size_of_difference(mean, ready.case.grid, trained.task.settings()["smooth_mm"])
    answer = made.restore(AnomalyMap(found.astype(np.float32), ready.case.grid), ready.memos)
    row = trained.task.judge(ready.original.truth, answer, region=ready.original.roi)
    row.pop("abnormal", None)
    return replace(judged, row={**judged.row, **{f"{name}_zscore": value for name, value in row.items()}})
