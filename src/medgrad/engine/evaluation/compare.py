"""Compare two runs on the same cases, paired by patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ...data.run_files import read_cases
from ...errors import FormatError, SettingError
from ...metrics import better_direction, rank_only, rank_scores
from ...tasks import Task
from ...trust.noninferiority import check_noninferiority
from ...trust.paired import PoolMany
from ...trust.paired import compare as pairwise
from ..runs.run import Run

MAIN_METRICS = (
    "dice",
    "hd95",
    "nsd",
    "auroc",
    "accuracy",
    "balanced_accuracy",
    "average_precision",
    "brier",
    "f1",
    "map@0.5",
    "map",
    "cpm",
)
ID_COLUMNS = ("case", "patient", "failed")


def read_cases_csv(folder: Path) -> tuple[list[str], list[str], list[dict[str, Any]]]:
    """Read the cases, the patients and the rows of ``cases.csv``."""
    path = folder / "cases.csv"
    if not path.exists():
        raise FormatError(f"{str(folder)!r} has no cases.csv. Give a folder that fit or evaluate wrote.")
    try:
        lines = read_cases(path)
        rows = [{k: parse_cell(v) for k, v in line.items() if k not in ID_COLUMNS} for line in lines]
        return [line["case"] for line in lines], [line["patient"] for line in lines], rows
    except (KeyError, ValueError, TypeError) as reason:
        raise FormatError(f"{str(path)!r} is not a table of judged cases: {reason}.") from reason


def parse_cell(cell: str) -> float | str | None:
    """Parse a cell of ``cases.csv``: a number, a list of scores (``0.9:1 0.3:0``), or None if it is empty.

    >>> parse_cell("0.5"), parse_cell("0.9:1"), parse_cell("")
    (0.5, '0.9:1', None)
    """
    if ":" in cell:
        return cell
    return float(cell) if cell != "" else None


def match_cases(first: Path, second: Path) -> tuple[list[str], list[dict[str, Any]], list[dict[str, Any]]]:
    """Match the cases that both runs have judged: return their patients and the rows of both runs, in one order."""
    cases, patients, rows = read_cases_csv(first)
    other_cases, _, other_rows = read_cases_csv(second)
    other = dict(zip(other_cases, other_rows, strict=True))
    shared = [i for i, case in enumerate(cases) if case in other]
    if len(shared) < 2 or len(shared) < 0.5 * max(len(cases), len(other_cases)):
        raise SettingError(
            f"{str(first)!r} and {str(second)!r} share {len(shared)} of {len(cases)} and {len(other_cases)} cases. "
            "Judge both on the same cases with evaluate."
        )
    return [patients[i] for i in shared], [rows[i] for i in shared], [other[cases[i]] for i in shared]


def compare_runs(first: Path | str, second: Path | str, *, margin: float = 0.01, seed: int = 0) -> dict[str, Any]:
    """Test whether the second run is better than the first, and whether it is not worse by more than the margin.

    The test of superiority is two-sided and corrected for all metrics by Holm's method. Non-inferiority is
    tested for the primary metric of the task, one-sided at 95 %. Choose the margin before looking at the
    results.
    """
    a, b = Path(first), Path(second)
    patients, rows_a, rows_b = match_cases(a, b)
    task = Run(a).load_recipe().build_task()

    figures, pool_many = task.summarise_many(rows_a, np.ones((1, len(rows_a)))), resample_summariser(task, rows_a)
    every = list(figures or rows_a[0])
    known = [n for n in every if n.split("/")[0] in MAIN_METRICS] or every
    table = pairwise(
        rows_a,
        rows_b,
        patients=patients,
        names=known,
        pool_many=pool_many,
        better_direction=better_direction,
        rank_scores=rank_scores,
        rank_only=rank_only,
        seed=seed,
    )
    verdict = check_noninferiority(
        rows_a,
        rows_b,
        name=margin_metric(task, known),
        margin=margin,
        patients=patients,
        pool_many=pool_many,
        seed=seed,
    )
    return {
        "first": str(a),
        "second": str(b),
        "cases": len(rows_a),
        "patients": len(set(patients)),
        "margin": margin,
        "table": [asdict(row) for row in table],
        "noninferior": asdict(verdict) | {"says": str(verdict)},
    }


def resample_summariser(task: Task, rows: Sequence[Mapping[str, Any]]) -> PoolMany | None:
    """Return a function that summarises many bootstrap resamples at once, or None where the task has none."""
    if task.summarise_many(rows, np.ones((1, len(rows)))) is None:
        return None
    return lambda chosen, weights: task.summarise_many(chosen, weights) or {}


def margin_metric(task: Task, metric_names: Sequence[str]) -> str:
    """Choose the metric that the non-inferiority margin applies to."""
    return task.primary_metric if task.primary_metric in metric_names else metric_names[0]
