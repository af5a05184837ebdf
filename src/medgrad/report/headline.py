"""The figures that head a run's page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .figures import interval_numbers
from .read_run import RunFiles


def evaluation_metrics(run_files: RunFiles) -> Mapping[str, Any]:
    """Return the metrics of the evaluation by name."""
    figures = run_files.evaluation.get("metrics")
    return figures if isinstance(figures, Mapping) else {}


def has_spacing(run_files: RunFiles) -> bool:
    """Tell whether the images had a spacing."""
    return not any(name.startswith("size_bias_px") for name in evaluation_metrics(run_files))


def headline_metrics(run_files: RunFiles) -> list[str]:
    """List the metrics that the run's task puts first; all of the evaluation where it does not say."""
    named = run_files.evaluation.get("headline")
    return [str(n) for n in named] if isinstance(named, list) and named else list(evaluation_metrics(run_files))


def choose_main_metrics(run_files: RunFiles) -> list[str]:
    """Choose up to three metrics for the top of the page: those that the task puts first, else the first available."""
    figures = evaluation_metrics(run_files)
    available = [n for n in figures if interval_numbers(figures[n])["value"] is not None]
    return ([n for n in headline_metrics(run_files) if n in available] or available)[:3]
