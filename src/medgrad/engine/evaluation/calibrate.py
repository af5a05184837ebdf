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
from .calibrate_boxes import fit_box_calibration
from .evaluate import JudgedCase


def without_calibration(task: Task) -> Task:
    """Return the task without its calibration parameters."""
    if isinstance(task, Detection):
        return replace(task, platt_a=(), platt_b=())
    return replace(task, temperature=1.0, shift=()) if isinstance(task, Classification) else task


def correct_priors(task: Task, truths: Sequence[Any], class_balance: float) -> Task:
    """Set the shift of the logits that corrects for rare classes being sampled more often in training."""
    _, oversampling = shares_of([t for t in truths if isinstance(t, Scores)], class_balance)
    if not oversampling or not isinstance(task, Classification):
        return task
    return replace(task, shift=tuple(round(-log(oversampling.get(n, 1.0)), 6) for n in task.labels))


def fit_calibration(
    task: Task, judged_cases: Sequence[JudgedCase]
) -> tuple[Task, list[JudgedCase], dict[str, Any] | None]:
    """Fit the temperature on judged validation cases; return the task, the recalibrated cases and a report."""
    usable = [j for j in judged_cases if not j.failure_reason]
    if usable and isinstance(task, Detection):
        return fit_box_calibration(task, judged_cases)
    if not usable or not isinstance(task, Classification):
        return task, list(judged_cases), None
    exclusive, columns = task.exclusive, [f"prob/{n}" for n in task.labels]
    truth, probabilities = task.truths_and_probabilities([j.row for j in usable])
    fitted_temperature = round(
        temperature.fit_temperature(
            temperature.to_logits(probabilities, exclusive=exclusive), truth, exclusive=exclusive
        ),
        6,
    )
    rescaled_probabilities = iter(temperature.apply_temperature(probabilities, fitted_temperature, exclusive=exclusive))
    rows = []
    for j in judged_cases:
        row = (
            j.row
            if j.failure_reason
            else {**j.row, **dict(zip(columns, map(float, next(rescaled_probabilities)), strict=True))}
        )
        rows.append(replace(j, row=row))
    after = np.array([[j.row[c] for c in columns] for j in rows if not j.failure_reason])
    before, now = calibration_error(truth, probabilities, exclusive), calibration_error(truth, after, exclusive)
    report = {"temperature": fitted_temperature, "ece_before": before, "ece_after": now}
    return replace(task, temperature=fitted_temperature), rows, report


def calibration_error(truth: Any, probabilities: Any, exclusive: bool) -> float | None:
    """Compute the expected calibration error."""
    metric = registry.find("metrics", "ece")
    names = tuple(str(i) for i in range(truth.shape[1]))
    return metric.compute(truth, probabilities, names=names, exclusive=exclusive).get("ece")
