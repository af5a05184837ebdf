"""Judge every answer, and say how sure the numbers are."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..data import Case
from ..data.types import within
from ..tasks._task import Task
from ..trust.intervals import bootstrap
from .checkpoint import write_text

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Judged:
    """One case: whose it is, its row of numbers, and why it failed, if it did."""

    case: str
    patient: str
    row: Row
    failed: str = ""


@dataclass(frozen=True)
class Evaluation:
    """All rows of a set, and the numbers with their intervals."""

    task: str
    split: str
    judged: tuple[Judged, ...]
    metrics: Mapping[str, Mapping[str, float | int | None]]
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def patients(self) -> int:
        return len({j.patient for j in self.judged})

    def as_dict(self) -> dict[str, Any]:
        """What ``evaluation.json`` holds."""
        return {
            "task": self.task,
            "split": self.split,
            "cases": len(self.judged),
            "patients": self.patients,
            "failed": sum(1 for j in self.judged if j.failed),
            "metrics": self.metrics,
            **self.extra,
        }


def judge_case(task: Task, original: Case, said: Any, *, failed: str = "") -> Judged:
    """Judge one answer, inside the case's region; a case without an answer gets the worst of everything."""
    if original.truth is None:
        raise ValueError(f"Case {original.id!r} has no truth to be judged by. Leave it out, or use predict.")
    truth = within(original.truth, original.region)
    row = task.failed(truth) if failed else task.judge(truth, within(said, original.region))
    return Judged(original.id, original.patient or original.id, row, failed)


def conclude(
    task: Task, judged: Sequence[Judged], *, split: str, extra: Mapping[str, Any] | None = None, times: int = 2000
) -> Evaluation:
    """Sum up the rows, with 95 % intervals resampled by patient."""
    rows = [j.row for j in judged]
    found = bootstrap(rows, task.summarise, patients=[j.patient for j in judged], times=times)
    metrics = {k: {"value": e.value, "low": e.low, "high": e.high, "n": e.n} for k, e in found.items()}
    return Evaluation(task.kind, split, tuple(judged), metrics, extra or {})


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
