"""The figures that head a run's page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .figures import interval_numbers
from .read_run import RunFiles

HEADLINE_METRICS = (
    "dice/mean",
    "auroc",
    "map@0.5",
    "tre_mm",
    "balanced_accuracy",
    "accuracy",
    "f1",
    "hd95/mean",
    "nsd/mean",
)
METRICS_BY_TASK = {
    "segmentation": ("dice/mean", "hd95/mean", "nsd/mean"),
    "classification": ("auroc", "balanced_accuracy", "ece"),
    "detection": ("map@0.5", "map", "sensitivity@1fp"),
}


def evaluation_metrics(run_files: RunFiles) -> Mapping[str, Any]:
    """Return the metrics of the evaluation by name."""
    figures = run_files.evaluation.get("metrics")
    return figures if isinstance(figures, Mapping) else {}


def has_spacing(run_files: RunFiles) -> bool:
    """Tell whether the images had a spacing."""
    return not any(name.startswith("size_bias_px") for name in evaluation_metrics(run_files))


def wanted_metrics(run_files: RunFiles) -> list[str]:
    """List the metrics for the top of the page, whether the run has them or not: those of its task first."""
    return list(dict.fromkeys([*METRICS_BY_TASK.get(task_name(run_files), ()), *HEADLINE_METRICS]))


def choose_main_metrics(run_files: RunFiles) -> list[str]:
    """Choose the metrics for the top of the page: those of the task, else the first available."""
    figures = evaluation_metrics(run_files)
    chosen = [
        n for n in wanted_metrics(run_files) if n in figures and interval_numbers(figures[n])["value"] is not None
    ]
    return (chosen or [n for n in figures if interval_numbers(figures[n])["value"] is not None])[:3]


def task_name(run_files: RunFiles) -> str:
    """Return the name of the run's task."""
    return str(run_files.evaluation.get("task") or run_files.cohort.get("task") or "")
