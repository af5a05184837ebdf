"""Calibration of a task's answers on validation cases, and correction for classes that training drew more often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...tasks import Task
from .evaluate import JudgedCase


def correct_priors(task: Task, oversampling: Mapping[str, float]) -> Task:
    """Return the task that corrects for classes being sampled more often in training than they occur."""
    return task.with_priors(oversampling) if oversampling else task


def fit_calibration(
    task: Task, judged_cases: Sequence[JudgedCase]
) -> tuple[Task, list[JudgedCase], Mapping[str, Any] | None]:
    """Calibrate a task on judged validation cases; return the task, the recalibrated cases and a report.

    Cases that failed stay as they are, and nothing is fitted to them.
    """
    usable = [j.row for j in judged_cases if not j.failure_reason]
    if not usable:
        return task, list(judged_cases), None
    found = task.calibrated(usable)
    rows = iter(found.rows)
    cases = [j if j.failure_reason else replace(j, row=next(rows)) for j in judged_cases]
    return found.task, cases, found.report
