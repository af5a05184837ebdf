"""Statistics over runs that differ by their seed: mean, confidence interval, and paired tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...metrics import rank_only, rank_scores, value_range
from ...tasks import Task
from ...trust.intervals import bootstrap_intervals
from ...trust.paired import compare
from ..evaluation.evaluate import Row

RowsByRun = Sequence[Sequence[Row]]


def mean_over_runs(task: Task, rows: Sequence[Row], n_runs: int, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average the primary metric over runs, whose rows are concatenated, for each row of weights (b, rows)."""
    parts = np.split(np.arange(len(rows)), n_runs)
    each = [primary_metric_values(task, [rows[i] for i in part], weights[:, part]) for part in parts]
    return np.mean(each, axis=0)


def primary_metric_values(task: Task, rows: Sequence[Row], weights: NDArray[np.float64]) -> NDArray[np.float64]:
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


def estimate_mean(
    task: Task, runs: RowsByRun, patients: Sequence[str]
) -> tuple[float | None, float | None, float | None]:
    """Estimate the mean over runs with its 95 % interval, bootstrapped by patient (all runs together)."""
    rows = [row for run in runs for row in run]

    def summarise_resamples(weights: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
        return {task.primary_metric: mean_over_runs(task, rows, len(runs), weights)}

    found = bootstrap_intervals(
        rows, patients=list(patients) * len(runs), compute_many=summarise_resamples, value_range=value_range
    )[task.primary_metric]
    return found.value, found.low, found.high


def paired(task: Task, first: RowsByRun, second: RowsByRun, patients: Sequence[str]) -> dict[str, Any]:
    """Test by permutation, paired by patient, whether the second's mean over runs is better than the first's."""
    n_runs = len(first)
    ends = [row for run in first for row in run], [row for run in second for row in run]

    def summarise_resamples(rows: Sequence[Row], weights: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
        half = len(rows) // 2
        parts = np.split(np.arange(half), n_runs)
        each = [
            primary_metric_values(task, [rows[i] for i in (*part, *(part + half))], weights[:, [*part, *(part + half)]])
            for part in parts
        ]
        return {task.primary_metric: np.mean(each, axis=0)}

    def rank_each_run(rows: Sequence[Row]) -> list[Row]:
        return [row for part in np.split(np.arange(len(rows)), n_runs) for row in rank_scores([rows[i] for i in part])]

    patients_of_rows = list(patients) * n_runs
    found = compare(
        *ends,
        patients=patients_of_rows,
        names=[task.primary_metric],
        pool_many=summarise_resamples,
        rank_scores=rank_each_run,
        rank_only=rank_only,
    )[0]
    return {
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
        "p": found.p if found.p is not None else 1.0,
    }
