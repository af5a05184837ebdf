"""Calibration of class probabilities: correction for oversampled classes, then temperature scaling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import log
from typing import Any

import numpy as np

from ... import registry
from ...data import Scores
from ...tasks import Task
from ...tasks.classification import Classification
from ...tasks.detection import Detection
from ...trust import temperature
from ..loading.sampling import shares_of
from .calibrate_boxes import calibrated_boxes
from .evaluate import Judged


def uncalibrated(task: Task) -> Task:
    """Return the task without its calibration parameters."""
    if isinstance(task, Detection):
        return replace(task, slopes=(), shifts=())
    return replace(task, temperature=1.0, shift=()) if isinstance(task, Classification) else task


def correct_priors(task: Task, truths: Sequence[Any], balance: float) -> Task:
    """Set the shift of the logits that corrects for rare classes being sampled more often in training."""
    _, more = shares_of([t for t in truths if isinstance(t, Scores)], balance)
    if not more or not isinstance(task, Classification):
        return task
    return replace(task, shift=tuple(round(-log(more.get(n, 1.0)), 6) for n in task.labels))


def calibrated(task: Task, judged: Sequence[Judged]) -> tuple[Task, list[Judged], dict[str, Any] | None]:
    """Fit the temperature on judged validation cases; return the task, the recalibrated cases and a report."""
    usable = [j for j in judged if not j.failed]
    if usable and isinstance(task, Detection):
        return calibrated_boxes(task, judged)
    if not usable or not isinstance(task, Classification):
        return task, list(judged), None
    exclusive, columns = task.exclusive, [f"said/{n}" for n in task.labels]
    truth, said = task.columns([j.row for j in usable])
    found = round(temperature.fit(temperature.logits_of(said, exclusive=exclusive), truth, exclusive=exclusive), 6)
    cooled = iter(temperature.rescaled(said, found, exclusive=exclusive))
    rows = []
    for j in judged:
        row = j.row if j.failed else {**j.row, **dict(zip(columns, map(float, next(cooled)), strict=True))}
        rows.append(replace(j, row=row))
    after = np.array([[j.row[c] for c in columns] for j in rows if not j.failed])
    before, now = error(truth, said, exclusive), error(truth, after, exclusive)
    told = {"temperature": found, "ece_before": before, "ece_after": now}
    return replace(task, temperature=found), rows, told


def error(truth: Any, said: Any, exclusive: bool) -> float | None:
    """Compute the expected calibration error."""
    metric = registry.find("metrics", "ece")
    names = tuple(str(i) for i in range(truth.shape[1]))
    return metric.compute(truth, said, names=names, exclusive=exclusive).get("ece")
