"""Statistics over runs that differ by their seed: mean, confidence interval, and paired tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...metrics import bounds, by_order, ranked
from ...tasks import Task
from ...trust.intervals import bootstrap
from ...trust.paired import compare
from ..evaluation.evaluate import Row

Runs = Sequence[Sequence[Row]]


def mean_over_runs(task: Task, rows: Sequence[Row], runs: int, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average the primary metric over runs, whose rows are concatenated, for each row of weights (b, rows)."""
    parts = np.split(np.arange(len(rows)), runs)
    each = [figures(task, [rows[i] for i in part], weights[:, part]) for part in parts]
    return np.mean(each, axis=0)


def figures(task: Task, rows: Sequence[Row], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the primary metric for each row of weights (b, rows)."""
    quick = task.summarise_many(rows, weights)
    if quick is not None:
        return np.asarray(quick[task.primary_metric], float)
    column = np.array([np.nan if r.get(task.primary_metric) is None else float(r[task.primary_metric]) for r in rows])
    known = ~np.isnan(column)
    total = weights[:, known].sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: NDArray[np.float64] = np.where(total > 0, weights[:, known] @ column[known] / total, np.nan)
    return found


def estimate(task: Task, runs: Runs, patients: Sequence[str]) -> tuple[float | None, float | None, float | None]:
    """Estimate the mean over runs with its 95 % interval, bootstrapped by patient (all runs together)."""
    rows = [row for run in runs for row in run]

    def many(weights: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
        return {task.primary_metric: mean_over_runs(task, rows, len(runs), weights)}

    found = bootstrap(rows, patients=list(patients) * len(runs), many=many, bounds=bounds)[task.primary_metric]
    return found.value, found.low, found.high


def paired(task: Task, first: Runs, second: Runs, patients: Sequence[str]) -> dict[str, Any]:
    """Test by permutation, paired by patient, whether the second's mean over runs is better than the first's."""
    many = len(first)
    ends = [row for run in first for row in run], [row for run in second for row in run]

    def pool_many(rows: Sequence[Row], weights: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
        half = len(rows) // 2
        parts = np.split(np.arange(half), many)
        each = [
            figures(task, [rows[i] for i in (*part, *(part + half))], weights[:, [*part, *(part + half)]])
            for part in parts
        ]
        return {task.primary_metric: np.mean(each, axis=0)}

    def each_placed(rows: Sequence[Row]) -> list[Row]:
        return [row for part in np.split(np.arange(len(rows)), many) for row in ranked([rows[i] for i in part])]

    people = list(patients) * many
    found = compare(
        *ends, patients=people, names=[task.primary_metric], pool_many=pool_many, placed=each_placed, by_order=by_order
    )[0]
    return {
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "p": found.p if found.p is not None else 1.0,
    }
