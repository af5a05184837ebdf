"""Judge answers, and summarise the rows with confidence intervals."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data import Case
from ...data.atomic_files import write_text
from ...metrics import bounds
from ...metrics.decisions import confusion
from ...tasks import Task
from ...tasks.classification import Classification
from ...trust.intervals import bootstrap
from ...trust.reliability import as_dicts, reliability

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Judged:
    """One judged case: its id, its patient, its row of metrics, and the reason if it failed."""

    case: str
    patient: str
    row: Row
    failed: str = ""


@dataclass(frozen=True)
class Evaluation:
    """The judged cases of a split, and the metrics with their intervals."""

    task: str
    split: str
    judged: tuple[Judged, ...]
    metrics: Mapping[str, Mapping[str, float | int | None]]
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def patients(self) -> int:
        return len({j.patient for j in self.judged})

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``evaluation.json``."""
        return {
            "task": self.task,
            "split": self.split,
            "cases": len(self.judged),
            "patients": self.patients,
            "failed": sum(1 for j in self.judged if j.failed),
            "metrics": self.metrics,
            **self.extra,
        }


def judge_case(task: Task, original: Case, said: Any, *, quick: bool = False) -> Judged:
    """Judge one answer against the truth, within the case's region."""
    if original.truth is None:
        raise ValueError(f"Case {original.id!r} has no truth to be judged by. Leave it out, or use predict.")
    row = task.judge(original.truth, said, region=original.region, quick=quick)
    return Judged(original.id, original.patient or original.id, row)


def conclude(
    task: Task,
    judged: Sequence[Judged],
    *,
    split: str,
    told: Sequence[str] = (),
    calibration: Mapping[str, Any] | None = None,
    times: int = 2000,
) -> Evaluation:
    """Summarise the rows into metrics with 95 % intervals, bootstrapped by patient.

    ``calibration`` is the calibration report of the training, if there is one.
    """
    rows = [j.row for j in judged]
    quick = task.summarise_many(rows, np.ones((1, len(rows)))) is not None

    def many(weights: NDArray[np.float64]) -> Mapping[str, Any]:
        return task.summarise_many(rows, weights) or {}

    found = bootstrap(
        rows,
        task.summarise,
        patients=[j.patient for j in judged],
        many=many if quick else None,
        bounds=bounds,
        times=times,
    )
    metrics = {k: {"value": e.value, "low": e.low, "high": e.high, "n": e.n} for k, e in found.items()}
    return Evaluation(task.kind, split, tuple(judged), metrics, described(task, judged, told, calibration or {}))


def described(
    task: Task, judged: Sequence[Judged], told: Sequence[str], calibration: Mapping[str, Any]
) -> dict[str, Any]:
    """Return messages and, for classification, the calibration curve and the confusion matrix, for the report."""
    extra: dict[str, Any] = {"told": list(told), "calibration": None, "confusion": None}
    if not isinstance(task, Classification):
        return extra
    truth, said = task.columns([j.row for j in judged])
    extra["calibration"] = {
        **calibration,
        "temperature": task.temperature,
        "bins": as_dicts(reliability(said, truth, exclusive=task.exclusive)),
    }
    if task.exclusive:
        extra["confusion"] = {"names": list(task.labels), "counts": confusion(truth, said)}
    return extra


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write ``evaluation.json`` and ``cases.csv``."""
    write_text(folder / "evaluation.json", json.dumps(evaluation.as_dict(), indent=1, allow_nan=False) + "\n")
    columns = list(dict.fromkeys(k for j in evaluation.judged for k in j.row))
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["case", "patient", "failed", *columns])
    for j in evaluation.judged:
        table.writerow([j.case, j.patient, j.failed, *["" if j.row.get(c) is None else j.row[c] for c in columns]])
    write_text(folder / "cases.csv", out.getvalue())
