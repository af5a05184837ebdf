"""Judge answers, and summarise the rows with confidence intervals."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data import Case
from ...data.atomic_files import write_text
from ...metrics import value_range
from ...report.figures import metrics_as_html
from ...tasks import Task
from ...trust.intervals import bootstrap_intervals

Row = Mapping[str, Any]


@dataclass(frozen=True)
class JudgedCase:
    """One judged case: its id, its patient, its row of metrics, and the reason if it failed.

    ``pair`` holds truth and answer for a task that judges whole sets.
    """

    case: str
    patient: str
    row: Row
    failure_reason: str = ""
    pair: tuple[Any, Any] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Evaluation:
    """The judged cases of a split, and the metrics with their intervals."""

    task: str
    split: str
    judged_cases: tuple[JudgedCase, ...]
    metrics: Mapping[str, Mapping[str, float | int | None]]
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_patients(self) -> int:
        return len({j.patient for j in self.judged_cases})

    def _repr_html_(self) -> str:
        """The metrics with their intervals as a table, for a notebook."""
        return metrics_as_html(self.metrics)

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``evaluation.json``."""
        return {
            "task": self.task,
            "split": self.split,
            "cases": len(self.judged_cases),
            "patients": self.n_patients,
            "failed": sum(1 for j in self.judged_cases if j.failure_reason),
            "metrics": self.metrics,
            **self.extra,
        }


def judge_case(task: Task, case: Case, answer: Any, *, quick: bool = False) -> JudgedCase:
    """Judge one answer against the truth, within the case's region."""
    if case.truth is None:
        raise ValueError(f"Case {case.id!r} has no truth to be judged by. Leave it out, or use predict.")
    row = task.judge(case.truth, answer, region=case.roi, quick=quick)
    if not quick:
        row |= task.judge_shown(case)
    pair = (case.truth, answer) if task.judges_sets() and not quick else None
    return JudgedCase(case.id, case.patient or case.id, row, pair=pair)


def summarise_evaluation(
    task: Task,
    judged_cases: Sequence[JudgedCase],
    *,
    split: str,
    messages: Sequence[str] = (),
    calibration: Mapping[str, Any] | None = None,
    n_resamples: int = 2000,
) -> Evaluation:
    """Summarise the rows into metrics with 95 % intervals, bootstrapped by patient.

    ``calibration`` is the calibration report of the training, if there is one.
    """
    rows = [j.row for j in judged_cases]
    has_fast_summary = task.summarise_many(rows, np.ones((1, len(rows)))) is not None

    def summarise_resamples(weights: NDArray[np.float64]) -> Mapping[str, Any]:
        return task.summarise_many(rows, weights) or {}

    intervals = bootstrap_intervals(
        rows,
        task.summarise,
        patients=[j.patient for j in judged_cases],
        compute_many=summarise_resamples if has_fast_summary else None,
        value_range=value_range,
        n_resamples=n_resamples,
    )
    metrics = {k: {"value": e.value, "low": e.low, "high": e.high, "n": e.n} for k, e in intervals.items()}
    return Evaluation(
        task.kind,
        split,
        tuple(replace(j, pair=None) for j in judged_cases),
        metrics | figures_of_set(task, judged_cases),
        evaluation_details(task, judged_cases, messages, calibration or {}),
    )


def figures_of_set(task: Task, judged_cases: Sequence[JudgedCase]) -> dict[str, dict[str, float | int | None]]:
    """Return the figures that only the whole set has, without intervals; none where no case was answered."""
    answered = [j for j in judged_cases if j.pair is not None]
    if not answered:
        return {}
    found = task.judge_set(j.pair for j in answered if j.pair is not None)
    n_patients = len({j.patient for j in answered})
    return {name: {"value": value, "low": None, "high": None, "n": n_patients} for name, value in found.items()}


def evaluation_details(
    task: Task, judged_cases: Sequence[JudgedCase], messages: Sequence[str], calibration: Mapping[str, Any]
) -> dict[str, Any]:
    """Return which figures head the report, messages, and what the task tells beside the figures.

    ``calibration`` is what the training reported.
    """
    details = task.details([j.row for j in judged_cases])
    if "calibration" in details:
        details["calibration"] = {**calibration, **details["calibration"]}
    shown = {"headline": list(task.headline_metrics), "label_noun": task.label_noun}
    return {**shown, "told": list(messages), "calibration": None, "confusion": None, **details}


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write ``evaluation.json`` and ``cases.csv``."""
    write_text(folder / "evaluation.json", json.dumps(evaluation.as_dict(), indent=1, allow_nan=False) + "\n")
    columns = list(dict.fromkeys(k for j in evaluation.judged_cases for k in j.row))
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["case", "patient", "failed", *columns])
    for j in evaluation.judged_cases:
        table.writerow(
            [j.case, j.patient, j.failure_reason, *["" if j.row.get(c) is None else j.row[c] for c in columns]]
        )
    write_text(folder / "cases.csv", out.getvalue())
